"""What the supervisor promises, with small real processes."""

import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from services.stack.child import Program
from services.stack.console import Console
from services.stack.errors import StackError
from services.stack.leftovers import PidFile, birth_of, stop_leftovers
from services.stack.supervisor import Supervisor

SLEEPS = "import time; print('up', flush=True); time.sleep(60)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEPS}"
FAILS = "print('the disk is gone'); raise SystemExit(3)"
TIMEOUT_S = 10.0


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    made = Supervisor(tmp_path, tmp_path, Console())
    yield made
    made.stop(made.names, 1.0)
    made.close()


def python(code: str, **options: int) -> Program:
    return Program(name="program", command=(sys.executable, "-c", code), environment={}, **options)  # type: ignore[arg-type]


def says_up(supervisor: Supervisor, times: int = 1) -> Callable[[], bool]:
    log = supervisor.log_of("program")
    return lambda: log.exists() and log.read_text().count("up") >= times


def test_a_program_that_dies_is_started_again(supervisor: Supervisor) -> None:
    supervisor.start(python(SLEEPS))
    supervisor.wait_ready("program", says_up(supervisor), TIMEOUT_S)
    first = supervisor.pid("program")
    supervisor.kill("program")
    supervisor.wait_ready("program", says_up(supervisor, times=2), TIMEOUT_S)
    assert supervisor.pid("program") not in {first, None}


def test_a_program_that_keeps_ending_is_reported_with_the_end_of_its_log(supervisor: Supervisor) -> None:
    supervisor.start(python(FAILS, most_deaths=2))
    with pytest.raises(StackError, match=r"keeps ending(.|\n)*the disk is gone"):
        supervisor.wait_ready("program", lambda: False, TIMEOUT_S)


def test_a_program_that_ignores_the_stop_signal_is_killed_after_the_timeout(supervisor: Supervisor) -> None:
    supervisor.start(python(STUBBORN))
    supervisor.wait_ready("program", says_up(supervisor), TIMEOUT_S)
    pid = supervisor.pid("program")
    assert pid is not None
    supervisor.stop(["program"], timeout_s=0.3)
    assert birth_of(pid) is None


def test_a_program_that_cannot_be_started_is_reported(supervisor: Supervisor) -> None:
    supervisor.start(Program(name="program", command=("/no/such/program",), environment={}, most_deaths=2))
    with pytest.raises(StackError, match="program keeps ending"):
        supervisor.wait_ready("program", lambda: False, TIMEOUT_S)


def test_what_an_earlier_stack_left_running_is_stopped_by_its_pid_file(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.start(python(SLEEPS))
    supervisor.wait_ready("program", says_up(supervisor), TIMEOUT_S)
    left = PidFile(tmp_path / "program.pid").read()
    assert left is not None
    (earlier := tmp_path / "earlier").mkdir()
    PidFile(earlier / "program.pid").write(left[0], signal.SIGTERM)
    assert stop_leftovers(earlier) == ["program"]
    assert birth_of(left[0]) != left[1]


def test_a_pid_that_now_belongs_to_another_process_is_left_alone(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.start(python(SLEEPS))
    supervisor.wait_ready("program", says_up(supervisor), TIMEOUT_S)
    pid = supervisor.pid("program")
    assert pid is not None
    (earlier := tmp_path / "earlier").mkdir()
    (earlier / "program.pid").write_text(f"{pid} 12345 {signal.SIGTERM.value}\n")
    assert stop_leftovers(earlier) == []
    assert birth_of(pid) is not None
