"""The commands of docs/operations.md, Failover: a standby takes over from a primary that is gone, and nothing answered is lost."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import httpx
import pytest

from services.stack.ports import HOST
from services.stack.postgres import Postgres
from services.stack.stack import Stack
from tests.e2e.client import Platform
from tests.e2e.test_backup import commands
from tests.e2e.test_kill import wait_for_progress
from tests.e2e.turmoil import turmoil
from tests.live.command import Command
from tests.live.erasing import track
from tests.servers import ask, free_port, give, running, type_in
from tests.stacks import fresh_directory
from tests.waiting import eventually

WITHIN_S = 120.0


class WithTwoAddresses(Stack):
    """Whose services are told where the standby will be, as the page says."""

    standby_port: int

    def environment_of(self, name: str) -> dict[str, str]:
        environment = super().environment_of(name)
        one = f"{HOST}:{self.ports['postgres']}/"
        two = f"{HOST}:{self.ports['postgres']},{HOST}:{self.standby_port}/"
        if name == "profile":
            environment["C360_READ_DATABASE_URL"] = environment["C360_DATABASE_URL"].replace(one, f"{HOST}:{self.standby_port}/")
        return environment | {
            variable: environment[variable].replace(one, two) + "?target_session_attrs=read-write"
            for variable in ("C360_DATABASE_URL", "C360_VAULT_URL")
            if name != "migrate"
        }

    @property
    def server_url(self) -> str:
        return self._postgres.server_url

    @property
    def superuser_password(self) -> str:
        return self._passwords.of("postgres-superuser")

    def lose_the_primary(self) -> None:
        """Ended as by a crash, and not started again."""
        self._stop(("postgres",), WITHIN_S)

    def look_at(self, port: int) -> None:
        """The tests' own questions go there from now on."""
        self._postgres._port = port


@pytest.mark.timeout(600)  # a few seconds of work; a busy machine takes many times that
def test_a_standby_takes_over_and_nothing_answered_is_lost() -> None:
    with fresh_directory() as directory:
        stack = WithTwoAddresses(directory, disposable=True)
        stack.standby_port = free_port()
        with stack, make_standby(stack, directory / "standby") as standby:
            with turmoil(stack, random.Random(9), people=10) as traffic:
                wait_for_progress(traffic)
                with Platform(stack.endpoints) as platform:
                    platform.record(platform.register_source("shop"), track("seen", user_id="somebody"))
                eventually(partial(is_exported_from_the_standby, stack), WITHIN_S)
                stack.lose_the_primary()
                assert ask(standby.admin_url, "SELECT pg_is_in_recovery()") is True
                type_in(commands("failover"), directory, STANDBY=standby.server_url)
                stack.look_at(stack.standby_port)
                eventually(lambda: all(map(stack.is_ready, stack.services)), WITHIN_S)
                wait_for_progress(traffic)
                counted = traffic.finish()
            assert counted.problems == []
            assert (counted.lost, counted.doubled) == (0, 0), str(counted)
            assert counted.visible == counted.sent == counted.acknowledged
            assert len(traffic.decider.answered) == traffic.decider.confirmed > 0
            Command(directory).run("audit", "verify")


def is_exported_from_the_standby(stack: Stack) -> bool:
    file = stack.data_directory / "shop.jsonl"
    Command(stack.data_directory).run("export", "shop", "--to", str(file), "--force")
    reads = httpx.get(stack.endpoints.metrics["profile"]).text
    return len(file.read_text().splitlines()) == 1 and 'c360_log_reads_total{server="standby"}' in reads


@contextmanager
def make_standby(stack: WithTwoAddresses, directory: Path) -> Iterator[Postgres]:
    """It has all that the primary answers for."""
    type_in(commands("standby"), directory.parent, SERVER=stack.server_url, STANDBY_DATA=str(directory))
    give(directory)
    with running(directory, stack.standby_port, stack.superuser_password) as standby:
        type_in(commands("synchronous"), directory.parent, SERVER=stack.server_url)
        eventually(
            lambda: ask(stack.admin_url, "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'quorum'") == 1, WITHIN_S
        )
        yield standby
