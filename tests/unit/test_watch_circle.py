"""Who is looked at again: whom the hub tells of, and whom the clock may have changed."""

from services.profile.circle import Circle
from services.profile.hub import Hub
from services.profile.tables.rulebook import RULES_STREAM
from shared.instants import END_OF_TIME

NO_TIME_S = 0.0


async def test_whom_the_clock_may_have_changed_is_looked_at_again_from_then_on() -> None:
    now = [0]
    circle = Circle(Hub(), lambda: now[0])
    circle.watch({b"windowed": [b"windowed"]}, until=5)
    circle.watch({b"steady": [b"steady"]}, until=END_OF_TIME)
    assert await circle.changed(NO_TIME_S) == {b"windowed", b"steady"}, "looked at before they were watched"
    assert await circle.changed(NO_TIME_S) == set()
    now[0] = 5
    assert await circle.changed(NO_TIME_S) == {b"windowed"}
    circle.watch({b"windowed": [b"windowed"]}, until=9)
    assert await circle.changed(NO_TIME_S) == set()


async def test_a_change_of_any_member_or_of_the_rules_is_one_of_the_customer_and_nobody_is_left_behind() -> None:
    hub = Hub()
    circle = Circle(hub, lambda: 0)
    circle.watch({b"one": [b"one", b"merged"], b"two": [b"two"]}, until=END_OF_TIME)
    await circle.changed(NO_TIME_S)
    hub.changed([b"merged", b"merged", b"stranger"])
    assert await circle.changed(NO_TIME_S) == {b"one"}
    hub.changed([RULES_STREAM])
    assert await circle.changed(NO_TIME_S) == {b"one", b"two"}
    circle.leave()
    assert not hub.is_watched
