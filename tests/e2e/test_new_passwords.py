"""New passwords at PostgreSQL and the broker, one service after another, while events come: docs/operations.md, New passwords."""

import os
import random
import signal
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from services.stack.files import write_private
from services.stack.ports import SERVICES
from services.stack.stack import Stack
from tests.e2e.test_kill import wait_for_progress
from tests.e2e.test_replicas import FENCED
from tests.e2e.turmoil import turmoil
from tests.stacks import fresh_stack
from tests.waiting import eventually

REFUSED = "the broker refuses the account"
# Who wants a further connection to PostgreSQL in the moment before the broker sends it away ends then already.
EXPECTED = (FENCED, REFUSED, "password authentication failed")
URLS = ("nats-url", "database-url", "vault-url")


@pytest.mark.timeout(600)  # some ten seconds of work; a busy machine takes many times that
def test_services_get_new_passwords_one_after_another_and_nobody_loses_anything(capsys: pytest.CaptureFixture[str]) -> None:
    with fresh_stack() as stack:
        with turmoil(stack, random.Random(91), people=10) as running:
            for service in SERVICES:
                wait_for_progress(running)
                change(stack, service)
            wait_for_progress(running)
            counted = running.finish()
        left = [service for service in SERVICES if knows_old_password(stack, service)]
    with capsys.disabled():
        print(f"\n{counted}")
    assert left == []
    assert [problem for problem in counted.problems if not any(words in problem for words in EXPECTED)] == []
    assert (counted.lost, counted.doubled) == (0, 0), str(counted)
    assert counted.visible == counted.sent == counted.acknowledged


def change(stack: Stack, service: str) -> None:
    """First where the service reads them, then at PostgreSQL, then at the broker, which sends it away: it ends, and starts with the new ones."""
    before, secrets = stack.pid(service), stack.data_directory / "secrets"
    for url in URLS:
        file = secrets / f"{service}-{url}"
        role = "broker-" + service if url == "nats-url" else service
        write_private(file, file.read_text().replace(old_password(secrets, role), new_password(service)))
    with psycopg.connect(stack.admin_url, autocommit=True) as admin:
        who, password = sql.Identifier(f"c360_{service}"), sql.Literal(new_password(service))
        admin.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(who, password))
    configuration = stack.data_directory / "nats.conf"
    broker = old_password(secrets, f"broker-{service}")
    write_private(configuration, configuration.read_text().replace(broker, new_password(service)))
    pid = stack.pid("nats")
    assert pid is not None
    os.kill(pid, signal.SIGHUP)
    eventually(lambda: stack.pid(service) not in (before, None), timeout_s=60)
    stack.wait_ready(service)
    assert any(REFUSED in line for line in stack.log_lines(service))


def old_password(secrets: Path, role: str) -> str:
    return (secrets / f"{role}-password").read_text().strip()


def new_password(service: str) -> str:
    return f"another-{service}"


def knows_old_password(stack: Stack, service: str) -> bool:
    """Whether PostgreSQL still lets it in by that."""
    old = old_password(stack.data_directory / "secrets", service)
    url = stack.environment_of(service)["C360_DATABASE_URL"]
    assert old in url
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        return False
    return True
