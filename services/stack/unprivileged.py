"""PostgreSQL under root: it refuses uid 0, so it gets another uid, and only its own directory changes hands."""

import os
import pwd
import shutil
from pathlib import Path

from services.stack.errors import StackError

ACCOUNT = "nobody"  # initdb needs an account with a name; this one is on every system


def prefix_for(directory: Path) -> tuple[str, ...]:
    """What to put before a command that works in `directory`; nothing for an ordinary user.

    The data directory may lie below a directory that only root can enter (/root is 0700). The process therefore keeps the
    capability to pass such directories, so that no permission outside of its own directory has to be changed. For the
    programs that is not enough, see `installation`.
    """
    if os.geteuid() != 0:
        return ()
    if (setpriv := shutil.which("setpriv")) is None:
        raise StackError("PostgreSQL does not run as root and setpriv is missing: install util-linux, or use another user")
    uid, gid = _owner_of(directory)
    identity = (f"--reuid={uid}", f"--regid={gid}", "--clear-groups")
    return (setpriv, *identity, "--inh-caps=-all,+dac_override", "--ambient-caps=-all,+dac_override")


def give_away(directory: Path) -> None:
    """Makes a new, empty directory the property of the account that will work in it."""
    if os.geteuid() == 0:
        account = pwd.getpwnam(ACCOUNT)
        os.chown(directory, account.pw_uid, account.pw_gid)


def _owner_of(directory: Path) -> tuple[int, int]:
    """Whoever owns the data keeps it."""
    stat = directory.stat()
    if stat.st_uid == 0:
        raise StackError(f"{directory} belongs to root, as which PostgreSQL does not run: chown -R {ACCOUNT} {directory}")
    return stat.st_uid, stat.st_gid
