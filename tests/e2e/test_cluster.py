"""What `make cluster-test` shows: three brokers, of which one dies, hangs, or is cut off, while events flow."""

import pytest

from services.stack.stack import Stack
from tests.e2e.cluster import NODES, play
from tests.e2e.wires import wires
from tests.stacks import fresh_directory


@pytest.mark.timeout(900)
def test_any_one_of_three_brokers_may_go(capsys: pytest.CaptureFixture[str]) -> None:
    with wires(NODES) as between, fresh_directory() as directory:
        stack = Stack(directory, disposable=True, nats_nodes=NODES, nats_detours=between.detours)
        between.lead_to(stack)
        with stack:
            tally = play(stack, between)
    with capsys.disabled():
        print(f"\n{capsys.readouterr().out}{tally}")
    assert tally.holds, tally.problems
