"""When a customer was known as it was at a version of its stream, for commands that ask another service than profile."""

from __future__ import annotations

from typing import Any

from services.cli.notation import Person


def known_at_version(person: Person, version: int, known_at: Any, timeout_s: float) -> Any:
    """When the customer's stream came to that version: asked of profile, for audit, of which it says nothing else."""
    from c360.profile.v1 import profile_pb2, profile_pb2_grpc
    from google.protobuf.field_mask_pb2 import FieldMask

    from services.cli import messages
    from services.cli.client import connect

    request = profile_pb2.GetProfileRequest(
        customer=messages.customer_ref(person),
        purpose="audit",
        version=version,
        known_at=known_at,
        read_mask=FieldMask(paths=["customer_id"]),
    )
    with connect("profile") as channel:
        return profile_pb2_grpc.ProfileServiceStub(channel).GetProfile(request, timeout=timeout_s).known_at
