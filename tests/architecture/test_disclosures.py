"""A call that is for a purpose leaves a record, or tells nothing of anybody. One that is added later is found here."""

import re
from pathlib import Path

import pytest
from c360.profile.v1 import export_pb2, history_pb2, profile_pb2, rules_pb2, segment_pb2, watch_pb2

EDGES = "".join(path.read_text() for path in (Path(__file__).parents[2] / "services/profile/api").glob("*.py"))
WRITTEN = set(re.findall(r'call_of\("(\w+)"', EDGES)) | set(re.findall(r'ReadyReads\([^)]*"(\w+)"', EDGES))
OF_NOBODY = {
    "ListSegments": "counts alone",
    "ListSegmentSizes": "counts alone",
    "GetRules": "counts alone",
    "ListRules": "counts alone",
    "ActivateRules": "counts alone",
    "CheckExported": "who may not be seen, of those the caller has",
}
MODULES = (export_pb2, history_pb2, profile_pb2, rules_pb2, segment_pb2, watch_pb2)
METHODS = sorted(
    method.name
    for module in MODULES
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
    if "purpose" in method.input_type.fields_by_name
)


@pytest.mark.parametrize("method", METHODS)
def test_a_call_for_a_purpose_leaves_a_record(method: str) -> None:
    assert (method in WRITTEN) != (method in OF_NOBODY)
