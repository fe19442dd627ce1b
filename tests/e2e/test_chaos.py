"""`make chaos`, shorter: it reaches every point, and says so when it doesn't."""

import random

import pytest

from tests.e2e import chaos
from tests.e2e.chaos import POINTS, Havoc
from tests.e2e.faults import rounds
from tests.e2e.tally import Tally


@pytest.mark.timeout(400)  # about half a minute on two idle cores; a busy machine takes several times that
def test_chaos_reaches_every_point_and_all_that_was_sent_is_there_once(capsys: pytest.CaptureFixture[str]) -> None:
    code = chaos.main(["--duration", "20", "--seed", "4"])
    said = capsys.readouterr().out
    assert code == 0, said
    assert f"{len(POINTS)} of {len(POINTS)} fault points reached" in said
    assert "the broker lost its store" in said


def test_the_rounds_hold_every_point_once() -> None:
    assert sorted(point for points in rounds(random.Random(1)) for point in points.items()) == sorted(POINTS)


def test_a_point_that_was_not_reached_and_a_store_that_was_kept_are_problems() -> None:
    havoc = Havoc()
    havoc.kills.update(POINTS[1:])
    service, point = POINTS[0]
    assert havoc.problems() == [f"{service} was not killed {point}", "the broker did not lose its store"]
    havoc.kills[POINTS[0]] += 1
    havoc.store_lost = True
    assert havoc.problems() == []


@pytest.mark.parametrize(
    ("sent", "acknowledged", "visible", "doubled", "lost", "holds"),
    [
        (9, 9, 9, 0, 0, True),
        (0, 0, 0, 0, 0, False),
        (9, 0, 0, 0, 0, False),
        (9, 8, 9, 0, 0, False),
        (9, 9, 8, 0, 1, False),
        (9, 9, 9, 1, 0, False),
    ],
)
def test_a_tally_holds_only_when_all_that_was_sent_is_there_once(
    sent: int, acknowledged: int, visible: int, doubled: int, lost: int, holds: bool
) -> None:
    assert Tally(sent, acknowledged, visible, doubled, lost, customers=1).holds is holds
    assert not Tally(sent, acknowledged, visible, doubled, lost, customers=1, problems=["something else"]).holds
