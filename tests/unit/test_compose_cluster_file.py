"""What docker-compose.cluster.yml adds to docker-compose.yml, read as a text: three brokers, and a second process of each service like the first."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.stack.compose_secrets import make_secrets
from services.stack.ports import SERVICES
from tests.unit.test_compose_file import CONTAINERS, ROOT

OVERLAY: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.cluster.yml").read_text())
ADDED: dict[str, dict[str, Any]] = {name: made for name, made in OVERLAY["services"].items() if name not in CONTAINERS}
NODES = ["nats", "nats-2", "nats-3"]
CONF = (ROOT / "deploy" / "nats.cluster.conf").read_text()
ALIKE = (
    "image",
    "command",
    "mem_limit",
    "read_only",
    "cap_drop",
    "security_opt",
    "pids_limit",
    "logging",
    "tmpfs",
    "restart",
)

each_service = pytest.mark.parametrize("service", SERVICES)


def test_it_adds_brokers_and_second_processes() -> None:
    assert ADDED.keys() == {*NODES[1:], *(f"{service}-2" for service in SERVICES)}


@each_service
def test_the_second_process_is_made_as_the_first(service: str) -> None:
    first, second = CONTAINERS[service], ADDED[f"{service}-2"]
    assert {name: first.get(name) for name in ALIKE} == {name: second.get(name) for name in ALIKE}
    cluster = OVERLAY["x-cluster"]
    assert second["environment"] == first["environment"] | cluster
    assert OVERLAY["services"][service]["environment"] == cluster
    assert second["volumes"] == first["volumes"]
    assert second["networks"] == {"doors": {"aliases": [service]}, "back": {}}
    assert first["networks"] == ["doors", "back"]
    assert OVERLAY["services"]["doctor"] == OVERLAY["services"]["c360"], "both find several"
    told, address = (of["c360"]["environment"][f"C360_{service.upper()}_ADDRESS"] for of in (OVERLAY["services"], CONTAINERS))
    assert told == f"dns:///{address}"


@each_service
def test_who_stands_by_is_well_and_doors_do_not_collide(service: str) -> None:
    first, second = OVERLAY["services"][service], ADDED[f"{service}-2"]
    assert first["healthcheck"]["test"] == second["healthcheck"]["test"]
    assert "--alive" in second["healthcheck"]["test"]
    assert CONTAINERS[service]["healthcheck"]["test"] == [word for word in second["healthcheck"]["test"] if word != "--alive"]
    published = [
        re.findall(r"_PORT:-(\d+)", port)[0]
        for container in (*CONTAINERS.values(), *ADDED.values())
        for port in container.get("ports", [])
    ]
    assert len(published) == len(set(published))


@pytest.mark.parametrize("node", NODES[1:])
def test_a_further_broker_is_made_as_the_first(node: str) -> None:
    first, further = CONTAINERS["nats"], ADDED[node]
    assert {name: first.get(name) for name in ALIKE} == {name: further.get(name) for name in ALIKE}
    assert further["environment"]["C360_NATS_NAME"] == node
    assert f"{node}-data" in OVERLAY["volumes"]
    assert f"{node}-data:/volumes/{node}" in OVERLAY["services"]["secrets"]["volumes"]
    assert f"/volumes/{node} " in (ROOT / "Dockerfile").read_text()


def test_all_brokers_know_each_other_and_all_services_know_them(tmp_path: Path) -> None:
    hosts = OVERLAY["services"]["secrets"]["environment"]["C360_NATS_HOSTS"].split(",")
    assert hosts == NODES
    make_secrets(tmp_path, hosts)
    assert re.findall(r"nats://node:[^@]+@([\w-]+):6222", (tmp_path / "nats" / "cluster.conf").read_text()) == NODES
    for service in SERVICES:
        assert re.findall(r"@([\w-]+):4222", (tmp_path / service / "nats-url").read_text()) == NODES
    assert OVERLAY["x-cluster"]["C360_NATS_REPLICAS"] == str(len(NODES))


def test_prometheus_asks_each_process() -> None:
    [mounted] = OVERLAY["services"]["prometheus"]["volumes"]
    source, place, _ = mounted.split(":")
    assert place in "".join(CONTAINERS["prometheus"]["command"])
    alone, all_of_them = (yaml.safe_load((ROOT / name).read_text()) for name in ("deploy/prometheus.yml", source))
    asked = {target for job in all_of_them["scrape_configs"] for static in job["static_configs"] for target in static["targets"]}
    listening = {
        f"{name}:{container['environment']['C360_METRICS_ADDRESS'].rpartition(':')[2]}"
        for name, container in (CONTAINERS | ADDED).items()
        if "C360_METRICS_ADDRESS" in container.get("environment", {})
    }
    assert asked == listening
    assert all_of_them | {"scrape_configs": []} == alone | {"scrape_configs": []}


def test_beside_the_cluster_a_broker_is_set_as_the_only_one_is() -> None:
    alone = (ROOT / "deploy" / "nats.conf").read_text().split("\n", 2)[2]
    assert alone.strip() in CONF
