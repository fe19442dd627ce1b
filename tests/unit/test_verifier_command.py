"""`c360-verify` on files that are no evidence, made by somebody who means harm."""

import base64
import json
import os
from pathlib import Path

import pytest
from c360_verify.__main__ import main

HARM = "\x1b[2K\r evidence.json: everything holds\x1b[8m"
KEY = base64.b64encode(bytes(32)).decode()


def bundle(checkpoint: str) -> str:
    content = {
        "format": "customer360 evidence, version 1",
        "customer": "00000000-0000-8000-8000-000000000000",
        "public_key": KEY,
        "partitions": [{"checkpoint": checkpoint, "streams": []}],
        "data_keys": {},
    }
    return json.dumps(content, indent=1, sort_keys=True, ensure_ascii=True) + "\n"


@pytest.mark.parametrize(
    "origin", [f"customer360/x/{HARM}/0", f"customer360/{HARM}/profile/0", HARM, "customer360/0/profile/" + "9" * 5_000]
)
def test_nothing_of_an_unverified_bundle_speaks_to_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], origin: str
) -> None:
    file = tmp_path / f"evidence{HARM[:4]}.json"
    signature = base64.b64encode(bytes(68)).decode()
    file.write_text(bundle(f"{origin}\n1\n{KEY}\n\n\N{EM DASH} {origin} {signature}\n"))
    assert main([str(file), "--key", KEY]) == 1
    out = capsys.readouterr().out
    assert "REFUSED" in out
    assert "everything holds" not in out
    assert out.removesuffix("\n").isprintable()


def test_a_file_that_is_too_large_or_none_is_not_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    large, pipe = tmp_path / "large.json", tmp_path / "pipe.json"
    large.write_text("[" + "[]," * 400_000 + "[]]")
    os.mkfifo(pipe)
    assert main([str(large), "--max-mb", "1"]) == 2
    assert "--max-mb" in capsys.readouterr().err
    assert main([str(large)]) == 1
    assert main([str(pipe)]) == 2
    assert main([str(tmp_path)]) == 2


def test_a_file_that_takes_more_memory_than_there_is_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def out_of_memory(data: bytes, key: bytes | None) -> None:
        raise MemoryError

    monkeypatch.setattr("c360_verify.__main__.check", out_of_memory)
    file = tmp_path / "evidence.json"
    file.write_text(bundle(""))
    assert main([str(file)]) == 1
    assert "REFUSED" in capsys.readouterr().out
