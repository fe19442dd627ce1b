"""A token opens what it was made for, while it stands in the file, and nothing else does."""

import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.access_tokens import MAX_FILE_BYTES, TokenFile
from shared.errors import AlreadyExists, InvalidInput, NotFound, Unavailable

names = st.from_regex(r"[a-z0-9\-]{1,8}", fullmatch=True)
purposes = st.sampled_from(["service", "audit", "marketing"])
steps = st.lists(st.tuples(st.booleans(), names, names, purposes), max_size=20)


@given(steps=steps)
def test_what_was_added_and_not_revoked_is_found_at_once_and_nothing_else(steps: list[tuple[bool, str, str, str]]) -> None:
    with TemporaryDirectory() as folder:
        writer, reader = (TokenFile(Path(folder) / "secrets" / "tokens.json") for _ in range(2))
        live: dict[str, tuple[str, str, str]] = {}
        gone: list[str] = []
        for adds, name, space, purpose in steps:
            if adds and name not in live:
                live[name] = (writer.add(name, space, purpose, os.urandom), space, purpose)
            elif adds:
                with pytest.raises(AlreadyExists):
                    writer.add(name, space, purpose, os.urandom)
            elif name in live:
                writer.revoke(name)
                gone.append(live.pop(name)[0])
            else:
                with pytest.raises(NotFound):
                    writer.revoke(name)
            for token, *bound in live.values():
                found = reader.find(token)
                assert found is not None
                assert [found.space, found.purpose] == bound
            assert not any(reader.find(token) for token in gone)
        assert [token.name for token in reader.all()] == list(live)


@given(presented=st.text(max_size=60))
def test_nothing_made_up_is_a_token(presented: str) -> None:
    with TemporaryDirectory() as folder:
        tokens = TokenFile(Path(folder) / "tokens.json")
        token = tokens.add("one", "main", "service", os.urandom)
        assert tokens.find(presented) is None
        assert tokens.find(token[:-1]) is None
        assert tokens.find(tokens.all()[0].sha256) is None


def test_no_token_stands_in_the_file_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    token = TokenFile(path).add("one", "main", "service", os.urandom)
    assert token[12:] not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "content", ["", "{", '{"tokens":[{}]}', '{"others":[]}', '{"tokens":[]}' + " " * MAX_FILE_BYTES], ids=range(5)
)
def test_a_file_that_can_not_be_read_lets_nobody_in(tmp_path: Path, content: str) -> None:
    path = tmp_path / "tokens.json"
    tokens = TokenFile(path)
    token = tokens.add("one", "main", "service", os.urandom)
    assert tokens.find(token)
    path.write_text(content)
    with pytest.raises(Unavailable, match="can't be read"):
        tokens.find(token)
    path.write_text(json.dumps({"tokens": []}))
    assert tokens.find(token) is None
    path.unlink()
    assert tokens.find(token) is None


@pytest.mark.parametrize(("name", "space", "purpose"), [("A", "main", "service"), ("a", "", "service"), ("a", "main", "no such!")])
def test_names_are_what_stands_in_an_address(tmp_path: Path, name: str, space: str, purpose: str) -> None:
    with pytest.raises(InvalidInput):
        TokenFile(tmp_path / "tokens.json").add(name, space, purpose, os.urandom)
