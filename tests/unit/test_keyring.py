"""The keyring file: no key that was added is ever lost."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from shared.vault import FileKeyring

ADD_KEYS = """
import sys
from pathlib import Path
from shared.vault import FileKeyring
keyring = FileKeyring(Path(sys.argv[1]))
for number in range(15):
    keyring.add_key()
    print(*keyring.wrap(bytes(32), b"owner")[:1])
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    FileKeyring.create(tmp_path / "keyring.json")
    return tmp_path / "keyring.json"


def test_processes_that_add_keys_at_the_same_time_lose_none(path: Path) -> None:
    processes = [subprocess.Popen([sys.executable, "-c", ADD_KEYS, str(path)], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    wrapped_under = {key for process in processes for key in process.communicate()[0].split()}
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert FileKeyring(path).key_ids == [str(number) for number in range(1, 47)]
    assert wrapped_under <= set(FileKeyring(path).key_ids)


def test_what_a_killed_process_left_decides_nothing(path: Path) -> None:
    left = path.with_name("keyring.json.new")
    left.write_text('{"torn')
    left.chmod(0o644)
    assert FileKeyring(path).add_key() == "2"
    assert path.stat().st_mode & 0o777 == 0o600
    assert not left.exists()
    elsewhere = path.with_name("elsewhere")
    left.symlink_to(elsewhere)
    FileKeyring(path).retire_key("1")
    assert FileKeyring(path).key_ids == ["2"]
    assert not elsewhere.exists()


def test_a_keyring_is_never_overwritten(path: Path) -> None:
    before = json.loads(path.read_text())
    with pytest.raises(FileExistsError):
        FileKeyring.create(path)
    assert json.loads(path.read_text()) == before
