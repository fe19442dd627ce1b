"""README can't rot: its snippet runs as it stands, its commands and settings exist."""

import os
import re
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from services.consent.__main__ import ConsentSettings
from services.identity.composition import IdentitySettings
from services.ingest.__main__ import IngestSettings
from services.migrate import MigrateSettings
from services.profile.composition import ProfileSettings
from services.stack.__main__ import _welcome
from services.stack.stack import Stack
from tests.e2e.client import DEADLINE_S
from tests.stacks import fresh_stack

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """As `make run` starts it: it lets in who proves who they are."""
    with fresh_stack(auth="jwt") as stack:
        yield stack


@pytest.mark.parametrize("page", ["README.md", "clients/python/README.md"])
def test_the_channel_backends_snippet_runs(stack: Stack, page: str) -> None:
    snippet = (ROOT / page).read_text().split("<!-- runnable")[1].split("```python\n")[1].split("```")[0]
    email = f"ada-{uuid.uuid4().hex[:8]}@example.com"
    environment = os.environ | {"C360_DATA_DIR": str(stack.data_directory), "C360_WRITE_KEY": stack.write_key()}
    c360 = Path(sys.executable).parent / "c360"
    sent = subprocess.run(
        [c360, "events", "identify", "--user-id", email, "-t", f"email={email}", "-t", "first_name=Ada", "--json"],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    position = msgspec.json.decode(sent.stdout)["positions"][-1]
    subprocess.run(
        [c360, "profile", "get", f"email:{email}", "--purpose", "service", "--fresh", position], env=environment, check=True
    )
    code = (
        snippet.replace(".data/", f"{stack.data_directory}/")
        .replace("127.0.0.1:50053", stack.endpoints.profile)
        .replace("ada@example.com", email)
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert re.fullmatch(r"Ada is customer [0-9a-f-]{36}\n", ran.stdout), ran.stdout


def test_the_printed_commands_do_what_is_printed(stack: Stack, tmp_path: Path) -> None:
    """As somebody would type them, in the root of the clone: nothing but the README's own line puts c360 on the PATH."""
    user = f"ada-{uuid.uuid4().hex[:8]}"
    activate, *commands = re.findall(r"^(?:\.|c360) .*", "\n".join(re.findall(r"```sh\n(.*?)```", README, re.DOTALL)), re.MULTILINE)
    assert activate.startswith(". .venv/bin/activate")
    assert len(commands) >= 6
    activate = activate.replace(".venv/bin", str(Path(sys.executable).parent))
    path = os.pathsep.join(("/usr/local/bin", "/usr/bin", "/bin"))
    environment = {"PATH": path, "C360_DATA_DIR": str(stack.data_directory), "C360_WRITE_KEY": stack.write_key()}
    guide = (ROOT / "docs" / "tracking-plans.md").read_text()
    (tmp_path / "plan.json").write_text(re.findall(r"```json\n(.*?)```", guide, re.DOTALL)[0])
    for command in commands:
        code = 1 if "exit code 1" in command else 0
        typed = f"{activate}\n{command.replace('ada@example.com', f'{user}@example.com').replace('user-id ada', f'user-id {user}').replace('user_id:ada', f'user_id:{user}')}"
        ran = run_until(code, typed, environment, tmp_path)
        assert ran.returncode == code, f"{command}\n{ran.stdout}{ran.stderr}"
        assert code == 0 or "CUSTOMER_UNKNOWN" in ran.stderr


def run_until(code: int, typed: str, environment: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    """A person is not as quick as to ask before the event is applied."""
    give_up_at = time.monotonic() + DEADLINE_S
    while True:
        ran = subprocess.run(["sh", "-c", typed], env=environment, cwd=folder, capture_output=True, text=True)
        if ran.returncode == code or time.monotonic() > give_up_at:
            return ran
        time.sleep(0.1)


def test_the_commands_that_a_start_prints_are_the_ones_shown(stack: Stack) -> None:
    printed = _welcome(stack).replace(stack.write_key(), "wk_K5x...").replace(stack.endpoints.ingest_http, "http://127.0.0.1:8080")
    assert suggested(printed) == suggested(README)


def suggested(text: str) -> str:
    """Where c360 and the data lie depends on where the stack was started."""
    return re.sub(r"\S+=\S+ \S*c360 |\S*c360 ", "c360 ", text.split("try, in another terminal:\n")[1].split("\n\n", maxsplit=1)[0])


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`?make (?:-C PATH )?([a-z-]+)", README.split("## Send events")[0])) - {"it"} <= targets


def test_every_setting_is_in_the_table_and_nothing_else_is() -> None:
    kinds = (IngestSettings, IdentitySettings, ProfileSettings, ConsentSettings, MigrateSettings)
    fields = {field.name for kind in kinds for field in msgspec.structs.fields(kind)}
    known = {f"C360_{name.upper()}" for name in fields if not name.endswith("_password")} | {"C360_DATA_DIR"}
    assert set(re.findall(r"`(C360_[A-Z_]+)`", README.split("## Configure it")[1])) == known


@pytest.mark.parametrize("command", sorted(set(re.findall(r"c360 ([a-z]+ [a-z-]+)", README))))
def test_every_command_that_is_named_exists(command: str) -> None:
    c360 = Path(sys.executable).parent / "c360"
    assert subprocess.run([c360, *command.split(), "--help"], capture_output=True, check=False).returncode == 0
