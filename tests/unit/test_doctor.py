"""What `c360 doctor` says of what it is told."""

from pathlib import Path

import jwt
import pytest
from prometheus_client import REGISTRY

from services.cli.doctor import finding, proofs, servers
from services.cli.doctor.asking import metrics_address, parse, several
from shared import telemetry

NOW = 1_800_000_000.0
GB = 1024**3


def test_every_rule_asks_for_a_metric_and_its_labels() -> None:
    assert telemetry
    for rule in finding.RULES:
        collector = REGISTRY._names_to_collectors[rule.metric]
        labels = dict.fromkeys(getattr(collector, "_labelnames", ()), "x")
        [told] = finding.of_metrics("profile", {rule.metric: [(labels, rule.most + 1.0)]})
        assert told.severity == rule.severity
        assert finding.of_metrics("profile", {rule.metric: [(labels, rule.most)]}) == []


def test_what_is_an_alarm_is_told() -> None:
    asked = " ".join(rule.metric for rule in finding.RULES)
    alarms = [one.name for one in REGISTRY.collect() if one.name.startswith("c360_") and ": an alarm" in one.documentation]
    # That the glass was broken is told while nobody has said what was read.
    assert [name for name in alarms if name not in asked and name != "c360_break_glass_calls"] == []


def test_who_stands_by_is_called_so() -> None:
    [told] = finding.of_health("profile", "10.0.0.2:50053", "STANDBY")
    assert (told.severity, "stands by for another one" in told.what) == ("unseen", True)
    assert finding.of_process("profile", "10.0.0.2:50053", "STANDBY") == []
    [gone] = finding.of_process("profile", "10.0.0.2:50053", "NOT_REACHABLE")
    assert (gone.severity, "10.0.0.2:50053" in gone.what) == ("wrong", True)


def test_each_of_several_processes_is_asked() -> None:
    assert several("ipv4:10.0.0.1:50053,10.0.0.2:50053") == ["10.0.0.1:50053", "10.0.0.2:50053"]
    assert several("10.0.0.1:50053") == several("dns:///profile:50053") == []


def test_services_of_different_releases_are_told() -> None:
    assert finding.of_versions({"ingest": "0.1.0", "profile": "0.1.0"}) == []
    [told] = finding.of_versions({"ingest": "0.1.0", "profile": "0.2.0"})
    assert "ingest 0.1.0, profile 0.2.0" in told.what


@pytest.mark.parametrize(("theirs", "said"), [(NOW - 5, "5 s behind"), (NOW + 6, "5 s ahead"), (NOW + 0.5, ""), (NOW - 1, "")])
def test_a_clock_that_differs_is_told(theirs: float, said: str) -> None:
    found = finding.of_clock("profile", theirs, NOW, NOW + 1)
    assert [one.what for one in found if said in one.what] == [one.what for one in found]
    assert bool(found) == bool(said)


@pytest.mark.parametrize(
    ("free", "total", "healthy"), [(GB, 100 * GB, False), (3 * GB, 100 * GB, True), (GB, 8 * GB, True), (0, GB, False)]
)
def test_a_disk_that_is_nearly_full_is_told(free: int, total: int, healthy: bool) -> None:
    assert (finding.of_disk("/data", free, total) == []) == healthy


def test_what_expires_is_told_before_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    for left, severities in ((-1, ["wrong"]), (3600, ["soon"]), (48 * 3600, [])):
        said = jwt.encode({"exp": int(NOW) + left}, "k" * 32, "HS256")
        assert [one.severity for one in proofs.token({"C360_TOKEN": said}, NOW)] == severities
    assert [one.severity for one in proofs.token({"C360_TOKEN": "half of one"}, NOW)] == ["wrong"]


def test_a_backup_that_is_missing_or_old_is_told(tmp_path: Path) -> None:
    assert [one.severity for one in proofs.backups([], NOW)] == ["unseen"]
    assert [one.severity for one in proofs.backups([tmp_path / "none"], NOW)] == ["wrong"]
    made = tmp_path / "c360.dump"
    made.touch()
    at = made.stat().st_mtime
    assert proofs.backups([tmp_path], at + 3600) == []
    assert [one.severity for one in proofs.backups([made], at + 30 * 3600)] == ["wrong"]


def test_streams_that_are_missing_and_limits_that_are_near_are_told() -> None:
    whole = [{"name": name} for name in servers.STREAMS]
    told = {"config": {"max_storage": 100}, "storage": 50, "account_details": [{"stream_detail": whole}]}
    assert servers.of_jetstream(told) == []
    [missing] = servers.of_jetstream(told | {"account_details": [{"stream_detail": whole[1:]}]})
    assert "CONSENT is missing" in missing.what
    [full] = servers.of_jetstream(told | {"storage": 90})
    assert "JetStream uses" in full.what
    assert [one.what for one in servers.of_jetstream({"disabled": True})] == ["JetStream is off"]


def test_metrics_are_read_as_prometheus_has_them() -> None:
    told = '# TYPE c360_consumer_halted gauge\nc360_consumer_halted{consumer="publish"} 1.0\npython_info 1\n'
    assert parse(told) == {"c360_consumer_halted": [({"consumer": "publish"}, 1.0)]}


def test_metrics_are_found_where_it_is_said(tmp_path: Path) -> None:
    nowhere = {"C360_DATA_DIR": str(tmp_path)}
    assert metrics_address("consent", nowhere) == "http://127.0.0.1:9104/metrics"
    assert metrics_address("consent", nowhere | {"C360_CONSENT_METRICS": "consent:9104"}) == "http://consent:9104/metrics"
