"""PostgreSQL runs from wherever it was installed: as root another user has to reach it, as a user nothing is copied."""

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from services.stack.installation import PACKAGE, PARTS, PREFIX, Copy, remove_left_copies

IS_ROOT = os.geteuid() == 0
TIMEOUT_S = 60.0
HOLD_SERVERS = """
import sys
from services.stack.stack import Stack
with Stack(sys.argv[1], services=()) as stack:
    print(stack.is_ready("postgres"), flush=True)
    sys.stdin.read()
"""

Hold = Callable[[], subprocess.Popen[str]]


@pytest.fixture
def public() -> Iterator[Path]:
    """pytest's own tmp_path lies below a directory that others can't enter."""
    with tempfile.TemporaryDirectory(prefix="c360-test-", ignore_cleanup_errors=True) as made:
        directory = Path(made)
        directory.chmod(0o755)
        yield directory


@pytest.fixture(params=["private-place", "strict-umask-and-private-tmpdir"])
def hold(public: Path, request: pytest.FixtureRequest) -> Iterator[Hold]:
    """Starts the servers with PostgreSQL from a place that is no good for another user."""
    packages = public / "place" / "site-packages"
    _install(packages)
    (scratch := public / "scratch").mkdir(mode=0o755)
    if request.param == "private-place":
        packages.parent.chmod(0o700)
    else:
        _close_to_others(packages)
        scratch.chmod(0o700)
    environment = os.environ | {"PYTHONPATH": str(packages), "TMPDIR": str(scratch)}
    with ExitStack() as cleanup:

        def start() -> subprocess.Popen[str]:
            command = (sys.executable, "-c", HOLD_SERVERS, str(packages.parent / "data"))
            process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            cleanup.enter_context(process)
            cleanup.callback(process.kill)
            return process

        yield start


def _install(packages: Path) -> None:
    found = importlib.util.find_spec(PACKAGE)
    assert found is not None
    assert found.origin is not None
    for part in PARTS:
        source = Path(found.origin).parents[1] / part
        if source.exists():
            shutil.copytree(source, packages / part, ignore=shutil.ignore_patterns("include"))
    (packages / PACKAGE / "__init__.py").touch()


def _close_to_others(directory: Path) -> None:
    for path in (directory, *directory.rglob("*")):
        path.chmod(path.stat().st_mode & 0o700)


def copies(process: subprocess.Popen[str], directory: Path) -> set[Path]:
    """That this process's PostgreSQL runs from; /tmp may hold the ones of other stacks."""
    pid = int((directory / "data" / "run" / "postgres.pid").read_text().split()[0])
    program = Path(os.readlink(f"/proc/{pid}/exe"))
    return {parent for parent in program.parents if parent.name.startswith(PREFIX)}


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc which program runs; elsewhere setpriv is missing as well")
def test_it_runs_from_where_another_user_cannot_reach_it_and_leaves_nothing_behind(hold: Hold, public: Path) -> None:
    killed = hold()
    assert killed.stdout is not None
    assert killed.stdout.readline() == "True\n"
    left = copies(killed, public / "place")
    assert len(left) == IS_ROOT
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    again = hold()
    assert again.stdout is not None
    assert again.stdout.readline() == "True\n"
    used = copies(again, public / "place")
    assert len(used) == IS_ROOT
    assert not any(copy.exists() for copy in left)
    again.communicate(timeout=TIMEOUT_S)
    assert again.returncode == 0
    assert not any(copy.exists() for copy in used)


def test_a_copy_is_readable_by_everybody_and_another_start_leaves_it_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    _install(tmp_path / "installed")
    _close_to_others(tmp_path / "installed")
    copy = Copy(tmp_path / "installed", tmp_path)
    assert all(path.stat().st_mode & 0o444 == 0o444 for path in (copy.directory, *copy.directory.rglob("*")))
    (abandoned := tmp_path / f"{PREFIX}abandoned").mkdir()
    (linked := tmp_path / f"{PREFIX}linked").symlink_to(tmp_path / "installed")
    remove_left_copies()
    assert copy.directory.exists()
    assert not abandoned.exists()
    assert linked.is_symlink()
    assert (tmp_path / "installed" / PACKAGE).exists()
    copy.remove()
    assert not copy.directory.exists()
