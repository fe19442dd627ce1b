"""A setting that can't be used is named, with what it may be; its value is not repeated."""

from pathlib import Path
from typing import get_args

import msgspec
import pytest

from services.migrate import MigrateSettings
from services.stack import settings as stack_settings
from shared.config import ConfigError, LogLevel, Settings, read_settings

ENOUGH = {
    "C360_DATABASE_URL": "postgresql://c360_ingest:secret@db/c360",
    "C360_VAULT_URL": "postgresql://c360_ingest:secret@db/c360_vault",
    "C360_KEYRING_FILE": "/keyring.json",
    "C360_GRPC_ADDRESS": "127.0.0.1:50051",
    "C360_METRICS_ADDRESS": "127.0.0.1:9101",
}


@pytest.mark.parametrize("value", ["abc", "0", "-1", "257", "4.5", ""])
def test_partitions_are_a_whole_number_in_a_range(value: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read_settings(Settings, ENOUGH | {"C360_PARTITIONS": value})
    assert str(refused.value) == "C360_PARTITIONS must be a whole number from 1 to 256"


@pytest.mark.parametrize("value", ["banana", "INFO", ""])
def test_the_log_level_is_one_of_a_few_words(value: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read_settings(Settings, ENOUGH | {"C360_LOG_LEVEL": value})
    assert str(refused.value) == "C360_LOG_LEVEL must be one of debug, info, warning, error, critical"


def test_what_is_allowed_is_taken(tmp_path: Path) -> None:
    (tmp_path / "partitions").write_text("256\n")
    for level in get_args(LogLevel):
        found = read_settings(Settings, ENOUGH | {"C360_LOG_LEVEL": level, "C360_PARTITIONS_FILE": str(tmp_path / "partitions")})
        assert (found.log_level, found.partitions) == (level, 256)


def test_all_that_are_missing_are_named() -> None:
    with pytest.raises(ConfigError, match="set C360_DATABASE_URL, C360_VAULT_URL"):
        read_settings(Settings, {})


def test_the_stack_checks_what_it_passes_on_as_the_services_do() -> None:
    passed_on = {name.removeprefix("C360_").lower() for name in stack_settings.KEPT}
    checked = {field.name: field.type for field in msgspec.structs.fields(stack_settings.Choices)}
    assert checked.keys() == passed_on | {"auth"}  # by which the stack sets what each of them is let in by
    for kind in (Settings, MigrateSettings):
        known = {field.name: field.type for field in msgspec.structs.fields(kind)}
        assert all(known[name] == checked[name] for name in known.keys() & passed_on)
