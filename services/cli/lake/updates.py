"""How customers changed, as rows of the tables that Segment's Profiles Sync calls `..._updates`. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from services.cli.lake.cells import Types, take_free
from services.cli.lake.shapes import RESERVED, Row, to_us

if TYPE_CHECKING:
    from c360.profile.v1 import export_pb2

_decode = msgspec.json.Decoder(dict[str, Any]).decode


def link_row(link: export_pb2.ExportedLink) -> Row:
    cells = _cells(link.customer_id, link.occasion)
    return Row(
        "external_id_mapping_updates",
        cells["uuid_ts"],
        cells
        | {
            "id": link.occasion.event_id,
            "external_id_hash": link.identifier_hash,
            "external_id_type": link.identifier.namespace,
            "external_id_value": link.identifier.value,
            "unlinked": link.unlinked,
        },
    )


def canonical_row(canonical: export_pb2.ExportedCanonical) -> Row:
    cells = _cells(canonical.customer_id, canonical.occasion)
    return Row("id_graph_updates", cells["uuid_ts"], cells | {"canonical_segment_id": canonical.canonical_customer_id})


def lapse_row(traits: export_pb2.ExportedTraits, types: dict[str, Types], through_us: int) -> Row:
    """What changed with no event; `through_us` tells it from what is told of the same instant another time."""
    row = traits_row(traits, types)
    row.cells["id"] += f":{through_us}"
    return row


def traits_row(traits: export_pb2.ExportedTraits, types: dict[str, Types]) -> Row:
    """`types`, by table, grows with what is new."""
    table = "profile_traits_updates"
    cells = _cells(traits.customer_id, traits.occasion)
    cells |= {"member_segment_ids": list(traits.member_customer_ids), "traits": traits.traits}
    cells |= {"cut_traits": list(traits.cut_traits)}
    take_free(cells, _decode(traits.traits), types.setdefault(table, {}), RESERVED)
    return Row(table, cells["uuid_ts"], cells)


def _cells(customer_id: str, occasion: export_pb2.ExportedOccasion) -> dict[str, Any]:
    recorded_us = to_us(occasion.record_time)
    cells: dict[str, Any] = {
        "id": f"{customer_id}:{recorded_us}",  # at one instant a customer changes once
        "segment_id": customer_id,
        "timestamp": to_us(occasion.occur_time),
        "uuid_ts": recorded_us,
        "seq": recorded_us,
    }
    if occasion.HasField("position"):
        cells |= {"log_partition": occasion.position.partition, "log_position": occasion.position.number}
    cause = {
        "triggering_event_id": occasion.cause_id,
        "triggering_event_type": occasion.cause_type,
        "triggering_event_name": occasion.cause_name,
        "triggering_event_source_id": occasion.cause_source,
    }
    return cells | {name: value for name, value in cause.items() if value}
