"""Whom a request names is found whatever the field is called, so that no method gives many for the price of one."""

import importlib
from pathlib import Path
from typing import Any

import pytest
from c360.common.v1.common_pb2 import CustomerRef, Identifier
from c360.profile.v1 import profile_pb2
from google.protobuf import descriptor_pool
from google.protobuf.message_factory import GetMessageClass

from shared.rpc.door import READ
from shared.rpc.methods import GROUPS, OF_ALL_UNLESS_NAMED
from shared.rpc.naming import Naming, naming_of

PROTOS = Path(__file__).parents[2] / "protos/c360"
for path in sorted(PROTOS.rglob("*.proto")):
    importlib.import_module(f"c360.{'.'.join(path.relative_to(PROTOS).with_suffix('').parts)}_pb2")

# What is read of no customer: definitions, rules, models, plans, segments; and what stands under an id that isn't a customer's.
OF_NOBODY = {
    "EvidenceService/GetReceipt",
    "RegistryService/GetVersionAt",
    "RegistryService/ListDefinitions",
    "RegistryService/ListVersions",
    "MatchingService/GetModel",
    "MatchingService/ListModels",
    "RulesService/GetRules",
    "RulesService/ListRules",
    "PlanService/GetPlan",
    "PlanService/ListPlans",
    "PlanService/ListViolations",
    "ProfileRulesService/GetRules",
    "ProfileRulesService/ListRules",
    "SegmentService/ListSegments",
    "SegmentService/ListSegmentSizes",
}


def request_of(method: str) -> Any:
    service, name = method[1:].split("/")
    return descriptor_pool.Default().FindServiceByName(service).methods_by_name[name].input_type


@pytest.mark.parametrize("method", [method for method, group in GROUPS.items() if group == READ])
def test_every_read_names_whom_it_reads_or_reads_of_nobody(method: str) -> None:
    naming = naming_of(request_of(method))
    assert (naming == Naming()) == (method.removeprefix("/").partition(".v1.")[2] in OF_NOBODY)


@pytest.mark.parametrize("method", sorted(OF_ALL_UNLESS_NAMED))
def test_what_is_of_all_unless_it_names_one_can_name_one(method: str) -> None:
    assert "customer" in naming_of(request_of(method)).one
    assert not GetMessageClass(request_of(method))().HasField("customer")


def test_a_batch_counts_as_many_as_it_asks_for_and_names_each() -> None:
    queries = [
        profile_pb2.ProfileQuery(customer=CustomerRef(customer_id="a")),
        profile_pb2.ProfileQuery(customer=CustomerRef(identifier=Identifier(namespace="email", value="b"))),
        profile_pb2.ProfileQuery(customer=CustomerRef(customer_id="a")),
        profile_pb2.ProfileQuery(),
    ]
    message = profile_pb2.BatchGetProfilesRequest(queries=queries)
    naming = naming_of(message.DESCRIPTOR)
    assert naming.count(message) == 4
    assert len(set(naming.of(message))) == 2
    alone = Identifier(namespace="email", value="b").SerializeToString(deterministic=True)
    assert alone in set(naming.of(message)), "by itself or in a reference it is the same one"
