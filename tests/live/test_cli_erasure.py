"""`c360 customer` and `c360 vault` against the real services."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from services.stack.stack import Stack
from tests.live.command import Command
from tests.live.test_cli import identify, profile

WHY = ("--reason", "GDPR Art. 17, ticket 1", "--by", "privacy-desk")


@pytest.fixture(scope="module")
def c360(stack: Stack) -> Command:
    stack.write_key()
    return Command(stack.data_directory)


@pytest.fixture
def user() -> str:
    return f"u-{os.urandom(8).hex()}"


def test_a_person_is_erased_and_the_saved_certificate_verifies_offline(c360: Command, user: str, tmp_path: Path) -> None:
    position = identify(c360, user, "first_name=Ann")
    saved = tmp_path / "certificate.txt"
    erased = c360.json("customer", "erase", f"user_id:{user}", *WHY, "--yes", "-o", str(saved), "--fresh", position)
    assert (erased["stage"], erased["policy"]) == ("completed", "refuse")
    assert saved.read_text() == erased["certificate"]
    key = c360.run("vault", "key").stdout.strip()
    assert key == erased["verifier_key"]
    assert '"readable_fields": 0' in c360.run("customer", "verify", str(saved), "--key", key).stdout
    saved.write_text(saved.read_text().replace("ticket 1", "ticket 2"))
    assert "CERTIFICATE_BROKEN" in c360.run("customer", "verify", str(saved), "--key", key, code=1).stderr
    assert c360.json("customer", "erasure", erased["request_id"]) == erased
    assert c360.json("customer", "erasure", "--customer", erased["customer_id"]) == erased
    assert erased["erasure_id"] in c360.run("identity", "customer", erased["customer_id"]).stdout
    gone = c360.run("profile", "get", erased["customer_id"], "--purpose", "service", code=1)
    assert "CUSTOMER_ERASED" in gone.stderr


def test_the_certificate_is_saved_though_nobody_reads_what_is_printed(c360: Command, user: str, tmp_path: Path) -> None:
    position = identify(c360, user, "first_name=Ann")
    saved = tmp_path / "certificate.txt"
    arguments = ("customer", "erase", f"user_id:{user}", *WHY, "--yes", "-o", str(saved), "--fresh", position)
    reader, writer = os.pipe()
    os.close(reader)
    subprocess.run((sys.executable, "-m", "services.cli", *arguments), env=c360.environment, stdout=writer, timeout=60, check=False)
    os.close(writer)
    assert saved.read_text().startswith("customer360 erasure certificate")


def test_nothing_is_erased_without_a_yes(c360: Command, user: str) -> None:
    position = identify(c360, user, "first_name=Ann")
    assert "NOT_CONFIRMED" in c360.run("customer", "erase", f"user_id:{user}", *WHY, text="n\n", code=2).stderr
    assert profile(c360, user, "--fresh", position)["traits"]["first_name"]["value"] == "Ann"


def test_nothing_is_erased_when_its_certificate_could_not_be_kept(c360: Command, user: str, tmp_path: Path) -> None:
    position = identify(c360, user, "first_name=Ann")
    kept = tmp_path / "certificate.txt"
    kept.write_text("of somebody else")
    for out in (kept, tmp_path / "nowhere" / "certificate.txt"):
        refused = c360.run("customer", "erase", f"user_id:{user}", *WHY, "--yes", "-o", str(out), "--fresh", position, code=2)
        assert refused.stderr.startswith(f"OUTPUT_NOT_WRITTEN: {out}: ")
    assert kept.read_text() == "of somebody else"
    assert profile(c360, user, "--fresh", position)["traits"]["first_name"]["value"] == "Ann"
    missing = tmp_path / "missing.txt"
    c360.run("customer", "erase", f"user_id:{user}-else", *WHY, "--yes", "-o", str(missing), code=1)
    assert not missing.exists()


def test_the_request_id_is_told_before_the_answer(c360: Command, user: str) -> None:
    position = identify(c360, user, "first_name=Ann")
    asked = c360.run("customer", "erase", f"user_id:{user}", *WHY, "--yes", "--fresh", position)
    request_id = asked.stderr.removeprefix("request id ").split(":")[0]
    assert c360.json("customer", "erasure", request_id)["stage"] == "completed"


def test_a_hold_queues_an_erasure_until_it_is_released(c360: Command, user: str, tmp_path: Path) -> None:
    position = identify(c360, user, "first_name=Ann")
    saved = tmp_path / "certificate.txt"
    held = c360.json("customer", "hold", f"user_id:{user}", "--reason", "litigation", "--fresh", position)
    asked = ("customer", "erase", f"user_id:{user}", *WHY, "--yes", "--policy", "start-clean", "--request-id", user)
    queued = c360.json(*asked, "-o", str(saved), code=4)
    assert (queued["stage"], queued["hold_ids"]) == ("queued", [held["hold_id"]])
    assert "QUEUED: queued by a legal hold: nothing is erased, no certificate" in c360.run(*asked, code=4).stderr
    assert not saved.exists()
    assert c360.json("customer", "erasure", "--customer", queued["customer_id"]) == queued
    assert "QUEUED" in c360.run("customer", "erasure", user, "-o", str(saved), code=4).stderr
    assert c360.json("customer", "release", held["hold_id"])["release_time"]
    while c360.json("customer", "erasure", user)["stage"] != "completed":
        pass
    c360.run("customer", "erasure", user, "-o", str(saved))
    assert saved.read_text() == c360.json(*asked)["certificate"]


def test_an_erasure_is_named_in_one_way(c360: Command, user: str) -> None:
    assert "ERASURE_MISSING" in c360.run("customer", "erasure", code=2).stderr
    assert "ERASURE_MISSING" in c360.run("customer", "erasure", user, "--customer", user, code=2).stderr
    customer = c360.json("identity", "resolve", f"user_id:{user}", "--fresh", identify(c360, user))["customer_id"]
    assert "ERASURE_UNKNOWN" in c360.run("customer", "erasure", "--customer", customer, code=1).stderr


def test_the_key_is_rotated_by_who_has_the_keyring(own_stack: Stack, user: str) -> None:
    own_stack.write_key()
    c360 = Command(own_stack.data_directory)
    identify(c360, user, "first_name=Ann")
    assert "under key 2" in c360.run("vault", "rotate").stderr
    assert "TOO_SOON" in c360.run("vault", "rotate", "--retire", code=3).stderr
    position = identify(c360, user, "first_name=Anna")
    own_stack.kill("profile")
    own_stack.wait_ready("profile")
    assert profile(c360, user, "--fresh", position)["traits"]["first_name"]["value"] == "Anna"


def test_a_rotation_says_what_it_misses(c360: Command, tmp_path: Path) -> None:
    elsewhere = Command(tmp_path)
    assert "STACK_NOT_RUNNING" in elsewhere.run("vault", "rotate", code=3).stderr
    assert "KEYRING_MISSING" in elsewhere.run("vault", "key", code=2).stderr
