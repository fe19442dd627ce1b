"""Leaves and audit paths of RFC 6962, 2.1, by its definition."""

import hashlib
from collections.abc import Sequence

from c360_verify.refusal import require


def leaf_hash(data: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + data).digest()


def root_by_path(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes:
    """The root that PATH(index, D[size]) = path leads to; the last hash of a path is the one next to the root."""
    require(0 <= index < size, "a position is beyond the tree")
    if size == 1:
        require(not path, "a proof is too long")
        return leaf
    require(bool(path), "a proof is too short")
    left_size = 1 << ((size - 1).bit_length() - 1)
    if index < left_size:
        left, right = root_by_path(leaf, index, left_size, path[:-1]), path[-1]
    else:
        left, right = path[-1], root_by_path(leaf, index - left_size, size - left_size, path[:-1])
    return hashlib.sha256(b"\x01" + left + right).digest()
