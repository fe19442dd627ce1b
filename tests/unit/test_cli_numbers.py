"""What numbers and instants say of themselves. No number that is typed is too large, too small or no number at all for what it is put into: that is a usage error."""

from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from services.cli.__main__ import app
from services.cli.options import MOST
from services.cli.sources import LONGEST_S
from services.ingest.domain import settings

FIELDS_OF_64_BITS = {"far_past_s": LONGEST_S, "far_future_s": LONGEST_S}


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if hasattr(command, "commands"):
        for name, inner in command.commands.items():
            yield from commands(inner, (*path, name))
    else:
        yield path, command


NUMBERS = [
    (path, parameter)
    for path, command in commands(typer.main.get_command(app))
    for parameter in command.params
    if parameter.type_descriptor.annotation in (int, float)
]


INSTANTS = [
    (path, parameter)
    for path, command in commands(typer.main.get_command(app))
    for parameter in command.params
    if parameter.metavar == "INSTANT"
]


def names(given: Any) -> str:
    return getattr(given, "name", "") or " ".join(given) if not isinstance(given, str) else given


def test_there_are_numbers() -> None:
    assert len(NUMBERS) > 50


@pytest.mark.parametrize(("path", "parameter"), NUMBERS, ids=names)
def test_every_number_has_a_least_and_a_most_that_its_field_can_hold(path: tuple[str, ...], parameter: Any) -> None:
    assert parameter.min is not None
    assert parameter.max is not None
    assert 0 <= parameter.min < parameter.max <= FIELDS_OF_64_BITS.get(parameter.name, MOST)


def test_no_number_is_nan() -> None:
    """Which lies within every range."""
    floats = {
        (path, parameter.name): parameter.callback for path, parameter in NUMBERS if parameter.type_descriptor.annotation is float
    }
    assert [name for name, callback in floats.items() if callback is None] == []


def test_the_limits_of_a_source_are_those_of_ingest() -> None:
    limits = {parameter.name: parameter.max for path, parameter in NUMBERS if path == ("sources", "update")}
    del limits["timeout_s"]
    assert limits == {
        "events_per_s": settings.MOST_EVENTS_PER_S,
        "max_event_bytes": settings.MOST_EVENT_BYTES,
        "max_batch_events": settings.MOST_BATCH_EVENTS,
        "trust_rank": settings.HIGHEST_RANK,
        "far_past_s": settings.LONGEST_S,
        "far_future_s": settings.LONGEST_S,
    }


@pytest.mark.parametrize(
    "option", ["--events-per-s -1", "--far-past-s -5", "--max-event-bytes -1", "--max-event-bytes 99999999999999", "--timeout nan"]
)
def test_a_source_with_a_wrong_limit_is_not_made(option: str) -> None:
    result = CliRunner().invoke(app, ["sources", "create", "s2", *option.split()])
    assert (result.exit_code, result.stdout) == (2, "")
    assert option.split(maxsplit=1)[0] in result.stderr


@pytest.mark.parametrize(("path", "parameter"), INSTANTS, ids=names)
def test_every_instant_says_in_which_time_zone_it_is_taken(path: tuple[str, ...], parameter: Any) -> None:
    assert "UTC without an offset" in parameter.help
