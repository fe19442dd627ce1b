"""The commands of docs/operations.md, Restore to an instant: the data as they were then, and who was erased since is erased again."""

import random
import shutil
from functools import partial
from pathlib import Path

import grpc
import pytest
from c360.common.v1.common_pb2 import CustomerRef
from c360.profile.v1 import profile_pb2

from services.stack.files import read_or_make_password
from services.stack.stack import Stack
from shared.rpc.errors import reason_of
from tests.e2e import tally
from tests.e2e.client import DEADLINE_S, Platform
from tests.e2e.test_backup import commands, is_erased
from tests.e2e.test_kill import wait_for_progress
from tests.e2e.turmoil import turmoil
from tests.live.command import Command
from tests.live.erasing import Person, erase, never_again, wait_completed
from tests.servers import ask, free_port, give, running, type_in, writable_directory
from tests.stacks import fresh_directory
from tests.waiting import eventually

WITHIN_S = 120.0


@pytest.mark.timeout(600)  # several servers are made and recovered; a busy machine takes many times what an idle one does
def test_the_data_are_as_of_an_instant_and_who_was_erased_since_is_erased_again(tmp_path: Path) -> None:
    archive = writable_directory(tmp_path / "archive")
    with fresh_directory() as old, Stack(old) as stack:
        password = read_or_make_password(old / "secrets" / "postgres-superuser-password")
        server = stack.admin_url.rpartition("/")[0]
        type_in(commands("archiving"), tmp_path, SERVER=server, ARCHIVE=str(archive))
        stack.kill("postgres")  # archiving begins with a start
        stack.wait_ready()
        type_in(commands("base backup"), tmp_path, SERVER=server, BASE=str(tmp_path / "base"))
        with turmoil(stack, random.Random(17), people=10) as traffic:
            wait_for_progress(traffic)
            assert traffic.finish().holds
        with Platform(stack.endpoints) as platform:
            key, before, after = platform.register_source("shop"), Person(), Person()
            fresh = before.live(platform, key)
            read(platform, before, fresh)
            instant = str(ask(stack.admin_url, "SELECT now()::text"))
            erased = wait_completed(platform, erase(platform, before, fresh=fresh))
            read(platform, after, after.live(platform, key))
        archive_all(stack)
        shutil.copytree(old / "secrets", tmp_path / "new" / "secrets")
    recover(tmp_path, password, instant, archive)
    with Stack(tmp_path / "new", disposable=True) as stack:
        with Platform(stack.endpoints) as platform:
            counted = tally.count(platform, tally.merged(sender.ledger for sender in traffic.senders))
            assert counted.visible == counted.sent == counted.acknowledged > 0
            assert (counted.lost, counted.doubled, counted.problems) == (0, 0, [])
            assert is_unknown(platform, after), "it came after the instant"
            eventually(lambda: is_erased(platform, erased.customer_id), WITHIN_S)
        never_again(stack, erased)
        Command(tmp_path / "new").run("audit", "verify")


def read(platform: Platform, person: Person, fresh: object) -> None:
    platform.get_profile(CustomerRef(identifier=person.email_identifier()), "audit", fresh)  # type: ignore[arg-type]


def is_unknown(platform: Platform, person: Person) -> bool:
    request = profile_pb2.GetProfileRequest(customer=CustomerRef(identifier=person.email_identifier()), purpose="audit")
    try:
        platform.profile.GetProfile(request, timeout=DEADLINE_S)
    except grpc.RpcError as error:
        return reason_of(error) in ("CUSTOMER_UNKNOWN", "IDENTIFIER_UNKNOWN")
    return False


def archive_all(stack: Stack) -> None:
    """As archive_timeout does each minute."""
    last = ask(stack.admin_url, "SELECT pg_walfile_name(pg_switch_wal())")
    eventually(lambda: str(ask(stack.admin_url, "SELECT last_archived_wal FROM pg_stat_archiver")) >= str(last), WITHIN_S)


def is_recovered(url: str) -> bool:
    return ask(url, "SELECT pg_is_in_recovery()") is False


def recover(where: Path, password: str, instant: str, archive: Path) -> None:
    """Beside each other the server as it was then, which goes on, and the vault as it was last."""
    type_in(commands("recover"), where, BASE=str(where / "base"), ARCHIVE=str(archive), INSTANT=instant)
    then, last = where / "new" / "postgres", where / "last"
    (where / "then").rename(then)
    for directory in (then, last):
        give(directory)
    with running(then, free_port(), password) as one, running(last, free_port(), password) as other:
        for url in (one.admin_url, other.admin_url):
            eventually(partial(is_recovered, url), WITHIN_S)
        type_in(commands("vault of now"), where, THEN=one.server_url, LAST=other.server_url)
