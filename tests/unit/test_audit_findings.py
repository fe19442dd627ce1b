"""What `make audit` reads of the answers of pip-audit and npm audit."""

import msgspec
import pytest

from tests import audit_node
from tests.audit import findings

TOLD = {
    "dependencies": [
        {"name": "fine", "version": "1.0", "vulns": []},
        {"name": "bad", "version": "2.0", "vulns": [{"id": "PYSEC-1"}, {"id": "PYSEC-2"}]},
        {"name": "unheard", "skip_reason": "not found"},
    ]
}


def test_what_is_vulnerable_and_what_nobody_told_of_are_told_apart() -> None:
    assert findings(msgspec.json.encode(TOLD)) == (["bad 2.0: PYSEC-1", "bad 2.0: PYSEC-2"], ["unheard"], 2)


def test_npm_tells_of_each_package_and_why() -> None:
    cause = {"source": 1, "name": "bad", "url": "https://advisories.example/1"}
    told = {
        "vulnerabilities": {"bad": {"via": [cause]}, "above": {"via": ["bad"]}},
        "metadata": {"dependencies": {"prod": 35, "dev": 100}},
    }
    assert audit_node.findings(msgspec.json.encode(told)) == (["bad: https://advisories.example/1"], 35)


def test_a_registry_that_does_not_tell_is_not_taken_for_one_that_knows_of_none() -> None:
    with pytest.raises(KeyError):
        audit_node.findings(msgspec.json.encode({"message": "405 Method Not Allowed", "statusCode": 405}))
