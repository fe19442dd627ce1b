"""Every command that README and docs show would be taken as it is typed: names, arguments, options. None is carried out."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from services.cli.__main__ import app

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
STAND_INS = {
    "PERSON": "email:ann@example.com",
    "IDENTIFIER": "email:ann@example.com",
    "ID": "01890a5d-ac96-774b-bcce-b302099a8057",
    "HOLD_ID": "01890a5d-ac96-774b-bcce-b302099a8057",
}
FILES = {"certificate.txt"}  # that have to be there


def shown(page: Path) -> Iterator[str]:
    """Lines of code blocks, and what stands between backticks, without prompts, comments and redirections."""
    text = page.read_text()
    for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL):
        yield from re.findall(r"^c360 .*", block, re.MULTILINE)
    yield from (
        re.sub(r"\s+", " ", found) for found in re.findall(r"`(c360 [^`]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    )


C360: Any = typer.main.get_command(app)
COMMANDS = sorted({(str(page.relative_to(ROOT)), command) for page in PAGES for command in shown(page)})


def words_of(command: str) -> list[str]:
    typed = re.sub(r"\$\([^)]*\)", "of-another-command", command)
    words = shlex.split(typed, comments=True)
    if ">" in words:
        words = words[: words.index(">")]
    return [STAND_INS.get(word, word) for word in words[1:]]


def test_there_are_commands() -> None:
    assert len(COMMANDS) > 60


@pytest.mark.parametrize(("page", "command"), COMMANDS, ids=lambda given: given)
def test_a_command_that_is_shown_can_be_typed(page: str, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`...` stands for what isn't shown; a command that is only named, without anything behind it, has to exist."""
    monkeypatch.chdir(tmp_path)
    for name in FILES:
        (tmp_path / name).touch()
    found, words = C360, words_of(command)
    context = found.make_context("c360", [], resilient_parsing=True)
    while words and words[0] in getattr(found, "commands", {}):
        found, name = found.commands[words[0]], words.pop(0)
        if hasattr(found, "commands"):
            context = found.make_context(name, [], parent=context, resilient_parsing=True)
    assert not (words and hasattr(found, "commands")), f"{page}: there is no command {words[0]}"
    if words and "..." not in words:
        found.make_context(found.name, words, parent=context)
    else:
        assert {word for word in words if word.startswith("-")} <= {
            option for parameter in found.params for option in parameter.opts
        }
