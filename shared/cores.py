"""Who is certainly one person. Pure."""

from collections.abc import Iterable


def cores(customers: Iterable[bytes], certain: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """By customer its core: the smallest id of those that are certainly one, joined by these edges. Others' edges count for nothing."""
    core = {customer: customer for customer in customers}

    def root(customer: bytes) -> bytes:
        while core[customer] != customer:
            core[customer] = customer = core[core[customer]]
        return customer

    for one, other in certain:
        if one in core and other in core:
            smaller, larger = sorted((root(one), root(other)))
            core[larger] = smaller
    return {customer: root(customer) for customer in core}
