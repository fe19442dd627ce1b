"""The calls to Splink: records and settings in, settings with what was estimated out."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from services.identity.matching.record import Person, Record

Block = tuple[str, ...]
MOST_EM_PAIRS = 1_000_000


def estimate_u(records: Sequence[Record], comparisons: list[dict[str, Any]], pairs: int, seed: int) -> dict[str, Any]:
    """How often two people agree, from random pairs."""
    linker = _linker(records, [_without(comparison, "u_probability") for comparison in comparisons])
    # One chunk: all pairs are counted anyway, and each chunk is a query for each comparison.
    linker.training.estimate_u_using_random_sampling(max_pairs=pairs, seed=seed, min_count_per_level=None, num_chunks=1)
    return _settings(linker)


def estimate_m(
    records: Sequence[Record], comparisons: list[dict[str, Any]], blocks: Sequence[Block], sure: Sequence[Block], recall: float
) -> dict[str, Any]:
    """How often one person's records agree, and how many pairs are one person's."""
    from splink import block_on

    linker = _linker(records, [_without(comparison, "m_probability") for comparison in comparisons])
    linker.training.estimate_probability_two_random_records_match([block_on(*block) for block in sure], recall=recall)
    for block in blocks:
        linker.training.estimate_parameters_using_expectation_maximisation(
            block_on(*block), max_pairs=MOST_EM_PAIRS, record_sample_proportion=1.0
        )
    return _settings(linker)


def table(people: Mapping[str, Person]) -> Any:
    """A pyarrow table, by id."""
    import pyarrow

    rows = [{"unique_id": record_id, **person._asdict()} for record_id, person in people.items()]
    schema = pyarrow.schema([(name, pyarrow.string()) for name in ("unique_id", *Person._fields)])
    return pyarrow.Table.from_pylist(rows, schema=schema)


def _linker(records: Sequence[Record], comparisons: list[dict[str, Any]]) -> Any:
    import duckdb
    from splink import Linker, SettingsCreator
    from splink.internals.duckdb.database_api import DuckDBAPI

    logging.getLogger("splink").setLevel(logging.ERROR)
    # One thread: sums in another order are other numbers.
    database = DuckDBAPI(duckdb.connect(config={"threads": 1}))
    database.duckdb_con.execute("PRAGMA disable_progress_bar")
    rows = database.register(table({record.id: record.person for record in records}))
    settings = SettingsCreator(link_type="dedupe_only", comparisons=list(comparisons), blocking_rules_to_generate_predictions=[])
    return Linker(rows, settings, log_level=logging.ERROR)


def _settings(linker: Any) -> dict[str, Any]:
    found: dict[str, Any] = linker.misc.save_model_to_json()
    found.pop("linker_uid", None)  # random, and would make every training another version
    return found


def _without(comparison: dict[str, Any], name: str) -> dict[str, Any]:
    levels = [{key: value for key, value in level.items() if key != name} for level in comparison["comparison_levels"]]
    return {"output_column_name": comparison["output_column_name"], "comparison_levels": levels}
