"""What `make cluster-test` shows: three brokers, of which one dies, the leader dies, and the leader hangs, while events flow."""

import pytest

from tests.e2e.cluster import NODES, play
from tests.stacks import fresh_stack


@pytest.mark.timeout(600)
def test_any_one_of_three_brokers_may_go(capsys: pytest.CaptureFixture[str]) -> None:
    with fresh_stack(nats_nodes=NODES) as stack:
        tally = play(stack)
    with capsys.disabled():
        print(f"\n{capsys.readouterr().out}{tally}")
    assert tally.holds, tally.problems
