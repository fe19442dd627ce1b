"""What is drawn is drawn once: by any thread, and by a child as well."""

import os
from concurrent.futures import ThreadPoolExecutor

from shared.randomness import AHEAD, draw


def test_every_size_has_its_length_and_nothing_comes_twice() -> None:
    drawn = [draw(size) for _ in range(3 * AHEAD) for size in (10, 12)]
    assert {len(piece) for piece in drawn} == {10, 12}
    assert len(set(drawn)) == len(drawn)


def test_threads_draw_different_bytes() -> None:
    with ThreadPoolExecutor(8) as threads:
        drawn = list(threads.map(lambda _: draw(12), range(20 * AHEAD)))
    assert len(set(drawn)) == len(drawn)


def test_a_child_does_not_draw_what_its_parent_draws() -> None:
    draw(12)  # so that some are ready
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        os.write(write, b"".join(draw(12) for _ in range(AHEAD // 2)))
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(read, 12 * AHEAD)
    os.close(read)
    os.close(write)
    ours = {draw(12) for _ in range(AHEAD)}
    assert ours.isdisjoint(theirs[at : at + 12] for at in range(0, len(theirs), 12))
