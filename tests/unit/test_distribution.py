"""The script for Citus is written from the list of placements, names each table once, and the overlay runs it."""

import re
from collections import Counter
from pathlib import Path

import yaml

from services import distribution

ROOT = Path(__file__).parents[2]
SCRIPT = (ROOT / "deploy" / "citus" / "distribute.sql").read_text()
OVERLAY = yaml.safe_load((ROOT / "docker-compose.citus.yml").read_text())
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())


def test_the_script_is_written_from_the_list() -> None:
    assert distribution.script() == SCRIPT, "python -m services.distribution > deploy/citus/distribute.sql"


def test_the_script_names_each_table_and_each_whole_schema_once() -> None:
    named = Counter(re.findall(r"(?:create_distributed_table|create_reference_table|citus_schema_distribute)\('([\w.]+)'", SCRIPT))
    tables = [one.table for one in (*distribution.DISTRIBUTED, *distribution.VAULT_DISTRIBUTED)]
    placed = [*tables, *distribution.REFERENCE, *distribution.VAULT_REFERENCE, *distribution.WHOLE, *distribution.WHOLE_SCHEMAS]
    assert named == Counter(placed)
    assert set(named.values()) == {1}


def test_what_is_told_to_lie_beside_a_table_comes_after_it() -> None:
    lines = SCRIPT.splitlines()
    for number, line in enumerate(lines):
        if (beside := re.search(r"colocate_with => '(?!none)([\w.]+)'", line)) is not None:
            assert any(f"create_distributed_table('{beside[1]}'" in earlier for earlier in lines[:number])


def test_the_services_wait_until_the_tables_are_distributed() -> None:
    services = {name for name, one in OVERLAY["services"].items() if "distribute" in one.get("depends_on", {})}
    assert services == {"ingest", "identity", "profile", "consent"} < COMPOSE["services"].keys()


def test_the_overlay_distributes_over_the_workers_that_it_has() -> None:
    workers = {name for name in OVERLAY["services"] if name.startswith("citus-worker")}
    distribute = OVERLAY["services"]["distribute"]
    assert set(distribute["environment"]["C360_CITUS_WORKERS"].split()) == workers
    assert workers < distribute["depends_on"].keys()
