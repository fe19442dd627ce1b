"""Which records are compared when some have changed: those that they share a block with. Pure.

A block over its cap is retired with the pairs that it alone proposed, and is back when it is below the cap again; what is
proposed is the same in whatever order the records came (`matching/blocking`).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from itertools import combinations

from services.identity.matching.blocking import MAX_BLOCK_RECORDS
from services.identity.records.likeness import RecordPair, record_pair

Key = bytes


@dataclass(slots=True)
class Blocks:
    """As they were before: `members` of the blocks that change, of large ones more than `cap` and of how many records change.

    `keys_of` are those of the records that change.
    """

    members: dict[Key, set[bytes]] = field(default_factory=dict)
    keys_of: dict[bytes, frozenset[Key]] = field(default_factory=dict)
    cap: int = MAX_BLOCK_RECORDS


@dataclass(slots=True)
class Proposed:
    """What has to be compared; and what a block that is retired proposed, to be taken back unless another block does."""

    pairs: set[RecordPair] = field(default_factory=set)
    retired: dict[Key, set[bytes]] = field(default_factory=dict)
    sizes: dict[Key, int] = field(default_factory=dict)  # of the blocks that changed, as they are now


def propose(blocks: Blocks, changed: Mapping[bytes, frozenset[Key]], returned: Collection[Key] = ()) -> Proposed:
    """`changed` are records with the keys that they have now; `returned` are blocks that are below their cap since an erasure."""
    proposed, after = Proposed(), {key: set(members) for key, members in blocks.members.items()}
    for record_id, keys in changed.items():
        for key in blocks.keys_of.get(record_id, frozenset()) - keys:
            after[key].discard(record_id)
        for key in keys:
            after.setdefault(key, set()).add(record_id)
    proposed.sizes = {key: len(members) for key, members in after.items()}
    for key, members in after.items():
        was_active = len(blocks.members.get(key, ())) <= blocks.cap and key not in returned
        if len(members) > blocks.cap:
            if was_active:
                proposed.retired[key] = members
        elif was_active:
            news = members & changed.keys()
            proposed.pairs |= {record_pair(one, other) for one in news for other in members if one != other}
        else:
            proposed.pairs |= set(combinations(sorted(members), 2))
    return proposed


def withdrawn(
    pairs: Collection[RecordPair], keys_of: Mapping[bytes, Collection[Key]], sizes: Mapping[Key, int], cap: int
) -> set[RecordPair]:
    """Of pairs that match, those that no block proposes any more."""
    return {found for found in pairs if not any(sizes[key] <= cap for key in set(keys_of[found[0]]) & set(keys_of[found[1]]))}
