"""What docker-compose.yml promises, read as a text; that a real engine does so is told by `make compose-test`."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.stack.ports import SERVICES
from tests.compose.engine import STAND_INS

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
CONTAINERS: dict[str, dict[str, Any]] = COMPOSE["services"]
ONCE = {"secrets", "migrate", "c360", "doctor"}  # end when they have done their work
DOORS = {*SERVICES, "grafana"}
LETS_GO_OF_ROOT = {"postgres"}  # by itself, as its image does
SECRET = re.compile("PASSWORD|SECRET|TOKEN|KEY|DATABASE_URL|VAULT_URL|ADMIN_URL")

each_container = pytest.mark.parametrize("name", sorted(CONTAINERS))
each_that_stays = pytest.mark.parametrize("name", sorted(CONTAINERS.keys() - ONCE))


@each_container
def test_it_has_no_more_rights_than_it_needs(name: str) -> None:
    container = CONTAINERS[name]
    assert container["read_only"] is True
    assert container["cap_drop"] == ["ALL"]
    assert container["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in container
    assert ("cap_add" in container) == (name in LETS_GO_OF_ROOT)


@each_container
def test_it_does_not_run_as_root(name: str) -> None:
    user = CONTAINERS[name].get("user", "")
    ours = CONTAINERS[name]["image"].startswith("customer360:")
    assert name in LETS_GO_OF_ROOT or ours or re.fullmatch("[1-9][0-9]*:[1-9][0-9]*", user)


def test_our_image_does_not_run_as_root() -> None:
    assert re.findall("^USER (.*)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE) == ["10001:10001"]


@each_container
def test_it_is_bounded(name: str) -> None:
    container = CONTAINERS[name]
    assert container["mem_limit"]
    assert container["pids_limit"]
    assert container["logging"]["options"].keys() == {"max-size", "max-file"}


@each_that_stays
def test_what_stays_says_whether_it_is_well_and_comes_back(name: str) -> None:
    assert CONTAINERS[name]["healthcheck"]["test"]
    assert CONTAINERS[name]["restart"] == "unless-stopped"


@each_container
def test_it_waits_until_what_it_needs_is_well_or_done(name: str) -> None:
    for needed, how in CONTAINERS[name].get("depends_on", {}).items():
        assert how["condition"] == ("service_completed_successfully" if needed in ONCE else "service_healthy")


@each_container
def test_only_doors_are_published_and_only_where_the_operator_says(name: str) -> None:
    ports = CONTAINERS[name].get("ports", [])
    assert bool(ports) == (name in DOORS)
    assert all(port.startswith(("${C360_BIND:-127.0.0.1}:", "127.0.0.1:")) for port in ports)


@each_container
def test_secrets_come_as_files(name: str) -> None:
    named = [variable for variable in CONTAINERS[name].get("environment", {}) if SECRET.search(variable)]
    assert [variable for variable in named if not variable.endswith("_FILE")] == []


@each_container
def test_what_it_keeps_is_in_named_volumes(name: str) -> None:
    for volume in CONTAINERS[name].get("volumes", []):
        source, _, options = str(volume).partition(":")
        assert source in COMPOSE["volumes"] or (source.startswith("./deploy/") and options.endswith(":ro"))


def test_the_testbed_stands_in_for_every_image_that_is_pulled() -> None:
    pulled = {container["image"] for container in CONTAINERS.values() if "profiles" not in container}
    built_from = set(re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE))
    assert {image for image in pulled if not image.startswith("customer360:")} | built_from == set(STAND_INS.values())


def test_the_example_names_every_setting_with_its_default() -> None:
    used = dict(re.findall(r"\$\{(\w+):-([^}]*)\}", TEXT))
    told = dict(re.findall(r"^(\w+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert told == used


def test_no_setting_is_without_a_default() -> None:
    assert re.findall(r"(?<!\$)\$\{(\w+)\}|(?<!\$)\$([A-Z]\w*)", TEXT) == []


def test_prometheus_asks_every_service() -> None:
    config = yaml.safe_load((ROOT / "deploy" / "prometheus.yml").read_text())
    asked = {target for job in config["scrape_configs"] for static in job["static_configs"] for target in static["targets"]}
    listening = {
        f"{name}:{container['environment']['C360_METRICS_ADDRESS'].rpartition(':')[2]}"
        for name, container in CONTAINERS.items()
        if "C360_METRICS_ADDRESS" in container.get("environment", {})
    }
    assert asked == listening
    assert {target.partition(":")[0] for target in asked} == set(SERVICES)


def test_the_doctor_has_all_that_it_looks_at_and_changes_none_of_it() -> None:
    doctor, command = CONTAINERS["doctor"], CONTAINERS["c360"]
    assert doctor["network_mode"] == "service:nats", "NATS tells how it is on its own loopback alone"
    assert "back" in CONTAINERS["nats"]["networks"], "where PostgreSQL and every service are"
    assert all("back" in CONTAINERS[name]["networks"] for name in ("postgres", *SERVICES))
    told = doctor["environment"]
    assert told.items() >= command["environment"].items()
    monitored = re.findall(r'^http: "(.*)"$', (ROOT / "deploy" / "nats.conf").read_text(), re.MULTILINE)
    assert [told["C360_NATS_MONITOR"]] == [f"http://{address}" for address in monitored]
    volumes = [volume.split(":") for volume in doctor["volumes"]]
    assert all(options == "ro" for _, _, options in volumes)
    mounted = {place: name for name, place, _ in volumes}
    assert mounted.items() >= {"/secrets": "secrets-migrate", "/keyring": "keyring", "/data/secrets": "issuer"}.items()
    assert [mounted[place] for place in told["C360_DATA_DIRS"].split(":")] == ["postgres-data", "nats-data"]


def test_the_image_has_what_is_locked_for_it_and_traces_too() -> None:
    assert re.findall(r"^COPY (requirements\S*)", (ROOT / "Dockerfile").read_text(), re.MULTILINE) == ["requirements-image.lock"]
    assert "!requirements-image.lock" in (ROOT / ".dockerignore").read_text().split()
    image, services = (_locked(name) for name in ("requirements-image.lock", "requirements.lock"))
    assert image.items() >= services.items()
    assert {"opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"} <= image.keys()


def _locked(name: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9.-]+)==(\S+)", (ROOT / name).read_text(), re.MULTILINE))
