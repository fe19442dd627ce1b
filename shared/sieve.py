"""Which generations may hold an id: a Bloom filter (B. H. Bloom, 1970) a generation, of many generations side by side.

The ids are hashes already (`derived_id`), so their own bits are the hash functions, but for those that mark a UUID. Sixteen
bits an id and six positions let one id in a thousand pass that isn't there; an id that was added always passes.
"""

from array import array
from collections.abc import Iterable
from struct import Struct
from typing import Final

POSITIONS: Final = 2**24  # of a generation; as many as three bytes of an id can name
BITS_AN_ID: Final = 16
GENERATION_IDS: Final = POSITIONS // BITS_AN_ID
FIRST_WIDTH: Final = 8  # generations of the first block, 16 MB: enough for most
WIDTH: Final = 32  # of every further one, 64 MB: one look into it answers for all of them

_halves = Struct(">QQ")


class Sieve:
    """A block has a word a position, and a bit in it a generation. Words are little-endian, as on x86 and ARM.

    `positions` is a power of two, at most POSITIONS.
    """

    def __init__(self, positions: int = POSITIONS) -> None:
        self._mask = positions - 1
        self._blocks: list[array[int]] = []

    def add(self, generation: int, ids: Iterable[bytes]) -> None:
        self.add_joined(generation, b"".join(ids))

    def add_joined(self, generation: int, ids: bytes) -> None:
        """Of ids one behind the other, 16 bytes each."""
        number, place = place_of(generation)
        block, bit, mask = self._made(number), 1 << place, self._mask
        for high, low in _halves.iter_unpack(ids):
            a, b, c, d = low & mask, low >> 24 & mask, high >> 16 & mask, high >> 40 & mask
            block[a] |= bit
            block[b] |= bit
            block[c] |= bit
            block[d] |= bit
            block[a + 5 * c & mask] |= bit
            block[b + 5 * d & mask] |= bit

    def possible(self, ids: Iterable[bytes]) -> list[tuple[int, bytes]]:
        """(generation, id) wherever an id may be; nothing for almost every id that was never added."""
        found, mask = [], self._mask
        for identity in ids:
            high, low = _halves.unpack(identity)
            a, b, c, d = low & mask, low >> 24 & mask, high >> 16 & mask, high >> 40 & mask
            for number, block in enumerate(self._blocks):
                bits = block[a] & block[b]
                if bits and (bits := bits & block[c] & block[d]):
                    bits &= block[a + 5 * c & mask] & block[b + 5 * d & mask]
                    found += [(first_of(number) + place, identity) for place in range(WIDTH) if bits >> place & 1]
        return found

    def block(self, number: int) -> bytes:
        return self._made(number).tobytes()

    def put_block(self, number: int, words: bytes) -> None:
        block = self._made(number)
        del block[:]
        block.frombytes(words)

    def _made(self, number: int) -> "array[int]":
        while number >= len(self._blocks):
            kind = "I" if self._blocks else "B"
            self._blocks.append(array(kind, bytes((self._mask + 1) * array(kind).itemsize)))
        return self._blocks[number]


def place_of(generation: int) -> tuple[int, int]:
    """Its block, and its bit in that."""
    if generation < FIRST_WIDTH:
        return 0, generation
    number, place = divmod(generation - FIRST_WIDTH, WIDTH)
    return number + 1, place


def first_of(block: int) -> int:
    """The first generation of a block."""
    return FIRST_WIDTH + WIDTH * (block - 1) if block else 0
