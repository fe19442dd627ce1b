"""What the commands say before any service is asked."""

import json
import socket
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from services.cli import identity_decisions
from services.cli.__main__ import app
from services.cli.endpoints import SERVICES, find_address, find_write_key
from services.cli.errors import Misused, NotReachable
from services.stack.files import DirectoryLock


def run(*arguments: str, env: dict[str, str] | None = None) -> Result:
    return CliRunner(env=env).invoke(app, arguments)


def test_the_version_is_told() -> None:
    result = run("--version")
    assert (result.exit_code, result.stdout) == (0, f"customer360 {version('customer360')}\n")


def test_a_command_loads_its_own_parts_and_no_other_group() -> None:
    asked = "import sys; from services.cli.commands import command; command('parked'); print(*sys.modules)"
    loaded = subprocess.run((sys.executable, "-c", asked), capture_output=True, text=True, check=True).stdout.split()
    others = {"consent", "profile", "identity", "rights", "lake", "segments"}
    assert "services.cli.parked" in loaded
    assert not {f"services.cli.{name}" for name in others} & set(loaded)


def test_help_explains_the_exit_codes() -> None:
    result = run("--help")
    assert result.exit_code == 0
    assert "3  not reachable" in result.stdout


@pytest.mark.parametrize(
    "command",
    [
        "profile get",
        "profile timeline",
        "profile history",
        "profile diff",
        "profile watch",
        "segments watch",
        "profile replay",
        "profile explain",
        "profile rules show",
        "profile rules list",
        "profile rules activate",
        "whatif",
        "consent purposes list",
        "consent purposes show",
        "consent purposes define",
        "consent purposes history",
        "consent controllers list",
        "consent controllers define",
        "consent callers token",
        "consent callers rotate",
        "consent notices show",
        "consent notices define",
        "consent record",
        "consent grant",
        "consent withdraw",
        "consent check",
        "consent decisions",
        "events send",
        "events track",
        "events identify",
        "identity resolve",
        "identity customer",
        "identity proposals",
        "identity merge",
        "identity split",
        "identity forbid",
        "identity withdraw",
        "identity decide",
        "identity decisions",
        "identity why",
        "identity history",
        "parked list",
        "parked show",
        "parked replay",
        "sources create",
        "sources show",
        "sources update",
        "sources keys",
        "sources add-key",
        "sources revoke-key",
        "plans publish",
        "plans show",
        "plans list",
        "plans violations",
        "plans quarantine",
        "plans replay",
        "plans check",
        "sources list",
        "status",
        "import",
        "export",
        "lake export",
    ],
)
def test_every_command_explains_itself(command: str) -> None:
    result = run(*command.split(), "--help")
    assert result.exit_code == 0
    assert "--json" in result.stdout


@pytest.mark.parametrize(
    "command",
    [
        "profile get ann --purpose service",
        "profile get email:ann@example.com",
        "profile get email:ann@example.com --purpose service --valid-at tomorrow",
        "profile get email:ann@example.com --purpose service --fresh 42",
        "profile timeline email:ann@example.com --purpose service --limit 0",
        "profile diff email:ann@example.com --purpose service --version 3",
        "profile diff email:ann@example.com --purpose service --from-version 3 --clock happened",
        "consent record email:ann@example.com marketing maybe",
        "consent withdraw 01890a5d-ac96-774b-bcce-b302099a8057 marketing",
        "consent purposes define newsletter no-such-file.json --by ops --reason why",
        "consent purposes define newsletter README.md --by ops --reason why",
        "consent notices define asking pyproject.toml --by ops",
        "consent record email:ann@example.com marketing granted --notice privacy",
        "events track Seen -p total",
        "events send no-such-file.jsonl --write-key k",
        "identity resolve ann",
        "identity customer x",
        "identity customer user_id:u1 --timeout 0",
        "identity merge user_id:u1 user_id:u2 --by desk",
        "identity split user_id:u1 --by desk --reason why",
        "identity decide 01890a5d-ac96-774b-bcce-b302099a8057 --by desk --reason why",
        "parked list ingest",
        "parked replay identity",
        "import rows.csv",
        "import no-such-file.csv --mapping no-such-file.json",
        "export shop",
        "export shop --to no-such-folder/out.jsonl",
        "export shop --to out.xlsx",
        "export shop --to out.csv --since -1d --until -2d",
        "export shop --to README.md --format csv",
        "import README.md --format csv --mapping /dev/null",
        "plans check",
        "customer verify README.md --key bogus",
        "audit bundle user_id:u1 -o out.json --keyring README.md --vault-url x",
        "sources register shop",
        "nonsense",
    ],
)
def test_a_wrong_command_is_a_usage_error(command: str) -> None:
    result = run(*command.split())
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr != ""


@pytest.mark.parametrize(
    ("answers", "told"),
    [((), "ANSWER_MISSING: say --accept"), (("--accept", "--decline"), "ANSWER_CONTRADICTORY: --accept says that the two are one")],
)
def test_a_proposal_is_answered_in_one_way(answers: tuple[str, ...], told: str) -> None:
    result = run("identity", "decide", "01890a5d-ac96-774b-bcce-b302099a8057", *answers, "--by", "desk", "--reason", "why")
    assert (result.exit_code, result.stderr.startswith(told)) == (2, True)


def test_the_environment_names_addresses_before_the_stack_does(tmp_path: Path) -> None:
    (tmp_path / "endpoints.json").write_text(json.dumps({"profile": "127.0.0.1:7003", "ingest": "127.0.0.1:7001"}))
    environ = {"C360_DATA_DIR": str(tmp_path), "C360_PROFILE_ADDRESS": "profile:50053"}
    assert find_address("profile", environ) == "profile:50053"
    assert find_address("ingest", environ) == "127.0.0.1:7001"
    with pytest.raises(Misused, match="does not say where consent is"):
        find_address("consent", environ)


def test_the_defaults_count_only_where_there_is_no_data_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_address("consent", {}) == "127.0.0.1:50054"
    (tmp_path / ".data").mkdir()
    with pytest.raises(NotReachable, match="STACK_NOT_RUNNING"):
        find_address("consent", {})


@pytest.mark.parametrize("directory", ["there", "nowhere"])
@pytest.mark.parametrize(
    "command", ["profile get user_id:u1 -P service", "consent purposes list", "events track -u u1 Seen --write-key k", "status"]
)
def test_the_command_never_talks_to_anothers_stack_when_its_own_is_stopped(tmp_path: Path, directory: str, command: str) -> None:
    (tmp_path / "there").mkdir()
    addresses = {f"C360_{service.upper()}_ADDRESS": "" for service in SERVICES}
    result = run(*command.split(), env=addresses | {"C360_DATA_DIR": str(tmp_path / directory)})
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr.startswith(f"STACK_NOT_RUNNING: the stack in {tmp_path / directory} is not running\n")
    assert "make run" in result.stderr


def test_endpoints_that_a_killed_stack_left_behind_are_not_used(tmp_path: Path) -> None:
    (tmp_path / "endpoints.json").write_text(json.dumps(dict.fromkeys(SERVICES, "127.0.0.1:7001")))
    environ = {"C360_DATA_DIR": str(tmp_path)}
    lock = DirectoryLock(tmp_path / "lock")
    lock.acquire()
    assert find_address("profile", environ) == "127.0.0.1:7001"
    lock.release()
    with pytest.raises(NotReachable, match="STACK_NOT_RUNNING"):
        find_address("profile", environ)


def test_broken_endpoints_are_named(tmp_path: Path) -> None:
    (tmp_path / "endpoints.json").write_text("{")
    with pytest.raises(Misused, match=r"endpoints\.json"):
        find_address("profile", {"C360_DATA_DIR": str(tmp_path)})


def test_the_write_key_comes_from_the_environment_a_file_or_the_stack(tmp_path: Path) -> None:
    (tmp_path / "write-key").write_text("of-the-stack\n")
    (tmp_path / "secret").write_text("of-the-file\n")
    environ = {"C360_DATA_DIR": str(tmp_path)}
    assert find_write_key(environ) == "of-the-stack"
    assert find_write_key(environ | {"C360_WRITE_KEY_FILE": str(tmp_path / "secret")}) == "of-the-file"
    assert find_write_key(environ | {"C360_WRITE_KEY": "of-the-environment"}) == "of-the-environment"


def test_without_a_write_key_the_command_says_where_it_looked(tmp_path: Path) -> None:
    result = run("events", "track", "-u", "u1", "Seen", env={"C360_DATA_DIR": str(tmp_path), "C360_WRITE_KEY": ""})
    assert result.exit_code == 2
    assert result.stderr.startswith("WRITE_KEY_MISSING: ")


@pytest.mark.parametrize(
    ("command", "given"),
    [
        ("merge", ["user_id:a", "user_id:b"]),
        ("split", ["user_id:a", "user_id:b"]),
        ("forbid", ["user_id:a", "user_id:b"]),
        ("withdraw", ["01890a5d-ac96-774b-bcce-b302099a8057"]),
        ("decide", ["01890a5d-ac96-774b-bcce-b302099a8057", "--accept"]),
    ],
)
def test_a_decision_that_is_answered_too_late_says_that_it_may_be_carried_out_and_how_to_look(
    command: str, given: list[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, and never says anything
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        who = "--by", "desk", "--reason", "ticket 1", "--request-id", "r-1", "--timeout", "0.3"
        result = run("identity", command, *given, *who, env={"C360_IDENTITY_ADDRESS": address})
    assert result.exit_code == 3
    told = result.stderr
    assert "may still be carried out" in told
    assert "c360 identity decisions" in told
    assert "--request-id r-1" in told


def test_who_decides_waits_longer_than_who_reads() -> None:
    assert identity_decisions.DECIDING_TIMEOUT_S == 30.0
    for command in ("merge", "split", "forbid", "withdraw", "decide"):
        assert "default: 30.0" in run("identity", command, "--help", env={"COLUMNS": "200"}).stdout, command
    assert "default: 5.0" in run("identity", "decisions", "--help", env={"COLUMNS": "200"}).stdout
