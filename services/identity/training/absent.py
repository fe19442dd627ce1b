"""Of the people of one source, how many another lacks (`Family.absent`). Pure."""

from collections.abc import Iterable, Mapping, Sequence

from services.identity.matching.record import Record

EXPECTED_ABSENT = 20.0  # looked for in another source and not found, beside those that are counted: few records prove nothing


def absent(records: Sequence[Record], linked: Iterable[tuple[str, str]]) -> float:
    """`linked` are the pairs, by id, that are taken for one person's. Of one source nothing can be learnt: all are absent elsewhere."""
    source_of: Mapping[str, str] = {record.id: record.source for record in records}
    looked_for = len(source_of) * (len(set(source_of.values())) - 1)
    found = {
        (record_id, source_of[another])
        for one, other in linked
        if source_of[one] != source_of[other]
        for record_id, another in ((one, other), (other, one))
    }
    return 1.0 - len(found) / (looked_for + EXPECTED_ABSENT)
