"""Every method is for somebody: one that no group has could be called by nobody where callers prove who they are."""

import re
from pathlib import Path

from shared.rpc.methods import GROUPS

PROTOS = sorted((Path(__file__).parents[2] / "protos/c360").rglob("*.proto"))


def methods(text: str) -> set[str]:
    package = re.findall(r"^package (.+);", text, re.MULTILINE)[0]
    found = re.findall(r"^service (\w+)|^  rpc (\w+)", text, re.MULTILINE)
    service, names = "", set()
    for service_, method in found:
        service = service_ or service
        names |= {f"/{package}.{service}/{method}"} if method else set()
    return names


def test_every_method_has_its_group_in_shared_rpc_methods() -> None:
    declared = set().union(*(methods(path.read_text()) for path in PROTOS))
    assert set(GROUPS) == declared
