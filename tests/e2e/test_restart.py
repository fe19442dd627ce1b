"""Stopped cleanly and started again in the same directory, the stack goes on where it was."""

from pathlib import Path

import grpc
import httpx
import pytest
from c360.common.v1.common_pb2 import Identifier
from c360.consent.v1 import consent_pb2

from services.stack.stack import Stack
from shared.rpc.errors import reason_of
from tests.e2e.client import Platform, by_id, by_identifier

EMAIL = Identifier(namespace="email", value="ann@example.com")
ANN = by_identifier(EMAIL.namespace, EMAIL.value)


def test_profiles_consent_and_write_keys_outlive_a_restart(directory: Path) -> None:
    with Stack(directory) as stack, Platform(stack.endpoints) as platform:
        key = stack.write_key()
        send(platform, key, "identify", traits={"email": EMAIL.value, "first_name": "Ann", "loyalty_tier": "gold"})
        send(platform, key, "track", event="Order Completed", anonymousId="ann-phone")
        before = platform.get_profile(ANN, "audit", platform.newest_position(key))
        platform.decide(EMAIL, "marketing", consent_pb2.OUTCOME_GRANTED)
        platform.decide(EMAIL, "marketing", consent_pb2.OUTCOME_WITHDRAWN)
        platform.decide(EMAIL, "analytics", consent_pb2.OUTCOME_OBJECTED)
    with Stack(directory, disposable=True) as stack, Platform(stack.endpoints) as platform:
        assert stack.write_key() == key
        assert platform.get_profile(ANN, "audit") == before
        assert refusals(platform, before.customer_id) == {"marketing": "CONSENT_WITHDRAWN", "analytics": "OBJECTED"}
        send(platform, key, "identify", traits={"first_name": "Anna"})
        after = platform.get_profile(ANN, "audit", platform.newest_position(key))
        assert after.traits["first_name"].value.string_value == "Anna"
        assert after.customer_id == before.customer_id
        assert after.version == before.version + 1
        platform.decide(EMAIL, "marketing", consent_pb2.OUTCOME_GRANTED)
        assert platform.get_profile(ANN, "marketing").traits["first_name"].value.string_value == "Anna"


def send(platform: Platform, key: str, kind: str, **fields: object) -> None:
    httpx.post(f"{platform.url}/v1/{kind}", json={"userId": "ann", **fields}, auth=(key, "")).raise_for_status()


def refusals(platform: Platform, customer_id: str) -> dict[str, str]:
    found = {}
    for purpose in ("marketing", "analytics"):
        with pytest.raises(grpc.RpcError) as refusal:
            platform.get_profile(by_id(customer_id), purpose)
        found[purpose] = reason_of(refusal.value)
    return found
