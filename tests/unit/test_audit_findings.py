"""What `make audit` reads of pip-audit's answer."""

import msgspec

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
