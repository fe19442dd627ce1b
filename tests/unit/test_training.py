"""The trainer, on made-up people. Needs the extra `train`; without it these tests are skipped, and say so."""

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from services.identity.domain.rules_document import document_of, to_json
from services.identity.domain.rules_document import read as read_rules
from services.identity.graph.rules import DEFAULT_RULES, Matching
from services.identity.matching.family import NO_FAMILIES
from services.identity.matching.model import Model, default, load, probability_of
from services.identity.matching.record import Person, Record, make_record
from services.identity.matching.score import Scorer
from services.identity.matching.trap import HouseholdTrap, refuse_household_trap
from services.identity.records.likeness import Comparer
from services.identity.training import __main__ as trainer
from services.identity.training import learn, splinked
from services.identity.training.expected import link_weight
from services.identity.training.people import make_records
from services.identity.training.reading import read
from services.identity.training.refusing import NotLearnable, NotReadable
from services.identity.training.report import report, weights
from services.identity.training.train import Options, Trained, train, write
from tests.properties.messy_records import SETTINGS, comparison, make_model
from tests.properties.people_store import all_at_once

for needed in ("splink", "duckdb", "faker"):
    pytest.importorskip(needed, reason=f"{needed} is missing: pip install 'customer360[train]'")

pytestmark = pytest.mark.filterwarnings("default")  # of Splink and what it uses


@pytest.fixture(scope="module")
def records() -> list[Record]:
    return make_records(500, seed=7)


@pytest.fixture(scope="module")
def trained(records: list[Record]) -> Iterator[Trained]:
    learn.ROUNDS, before = (200_000, 200_000), learn.ROUNDS
    yield train(records, Options(seed=3, trained_on="made-up people"))
    learn.ROUNDS = before


def test_the_same_records_and_seed_give_the_same_file_in_any_order(records: list[Record], trained: Trained) -> None:
    assert train(records[::-1], Options(seed=3, trained_on="made-up people")).text == trained.text


def test_people_are_found_without_being_told_who_is_who(records: list[Record], trained: Trained) -> None:
    found = people_of(records, trained.model)
    linked, true = pairs_of(found), true_pairs(records)
    assert len(true & linked) >= 0.98 * len(linked)
    assert len(true & linked) >= 0.9 * len(true)


def test_what_families_share_is_learnt_beside_it(records: list[Record], trained: Trained) -> None:
    """Made-up families have one address, one in sixteen pairs of them one mailbox, and no twins."""
    family = trained.model.family
    assert min(family.shared["family_name"], family.shared["address"]) > 0.9
    assert family.shared["email"] < 0.2
    assert family.twins < 0.01
    assert family.share > probability_of(trained.model.prior_weight)
    assert "of two of a family" in report(trained, len(records), 3)


@pytest.mark.parametrize(
    "options", [Options(), Options(link_precision=0.5, review_probability=0.01), Options(review_probability=0.999999)]
)
def test_the_weights_that_are_told_are_taken_by_the_rules_as_they_stand(trained: Trained, options: Options) -> None:
    """Also of a precision or a probability that nobody would be asked for."""
    model = load(write(trained.model.settings, {}, trained.model.family, options, link_weight([], options.link_precision)))
    for one in (model, trained.model, default()):
        rules = msgspec.json.decode(to_json(document_of(DEFAULT_RULES)))
        rules["matching"] |= msgspec.json.decode(weights(one))
        taken = read_rules(msgspec.json.encode(rules).decode(), b"").matching
        assert one.link_weight <= taken.link_weight <= one.link_weight + 0.01
        assert 0 <= taken.review_weight <= taken.link_weight
    assert f"`{weights(trained.model)}`" in report(trained, 1, 1)


def people_of(records: list[Record], model: Model) -> set[frozenset[str]]:
    """From the weight on that the model itself asks for."""
    matching = Matching(link_weight=model.link_weight, review_weight=model.link_weight, witness=False)
    rules = msgspec.structs.replace(DEFAULT_RULES, matching=matching)
    return all_at_once({record.id: record for record in records}, Comparer(model, model.link_weight), rules)


def true_pairs(records: list[Record]) -> set[tuple[str, str]]:
    return {(a.id, b.id) for a in records for b in records if a.id < b.id and a.id.split("/")[0] == b.id.split("/")[0]}


def pairs_of(groups: Iterable[frozenset[str]]) -> set[tuple[str, str]]:
    return {(a, b) for group in groups for a in group for b in group if a < b}


@pytest.mark.parametrize("model", ["default", "trained"])
def test_weights_are_splinks_own(model: str, records: list[Record], trained: Trained) -> None:
    """Splink's match_weight for every pair of some records, term frequencies included, against ours but for what families take."""
    used = default() if model == "default" else trained.model
    people = {record.id: record.person for record in records[:120]}
    scorer = Scorer(replace(used, family=NO_FAMILIES))
    for one, other, weight in splink_weights(used, people):
        assert scorer.weigh(people[one], people[other]) == pytest.approx(weight, abs=1e-9)


def splink_weights(model: Model, people: dict[str, Person]) -> list[tuple[str, str, float]]:
    import pyarrow
    from splink import Linker
    from splink.internals.duckdb.database_api import DuckDBAPI

    database = DuckDBAPI()
    table = splinked.table(people)
    settings = model.settings | {"blocking_rules_to_generate_predictions": [{"blocking_rule": "1=1", "sql_dialect": "duckdb"}]}
    linker = Linker(database.register(table), settings, log_level=40)
    terms = {level.term.column: level.term.frequencies for c in model.comparisons for level in c.levels if level.term}
    for column, frequencies in terms.items():
        name = Person._fields[column]
        values = {value for person in people.values() if (value := person[column]) is not None}
        rows = [{name: value, f"tf_{name}": frequencies.values.get(value, frequencies.unseen)} for value in sorted(values)]
        linker.table_management.register_term_frequency_lookup(database.register(pyarrow.Table.from_pylist(rows)), name)
    predicted = linker.inference.predict().as_record_list()
    assert len(predicted) == len(people) * (len(people) - 1) // 2
    return [(row["unique_id_l"], row["unique_id_r"], row["match_weight"]) for row in predicted]


def test_a_model_that_learnt_who_lives_together_is_refused() -> None:
    trapped = [
        comparison("given_name", ("", 0.4, 0.02), ("ELSE", 0.6, 0.98)),
        comparison("birth_date", ("", 0.4, 0.02), ("ELSE", 0.6, 0.98)),
        comparison("street", ("", 0.9, 0.001), ("ELSE", 0.1, 0.999)),
    ]
    with pytest.raises(HouseholdTrap):
        refuse_household_trap(make_model({**SETTINGS, "comparisons": trapped}, term_frequencies={}))


def test_records_that_tell_too_little_are_not_learnt_from() -> None:
    with pytest.raises(NotLearnable):
        train([make_record(str(number), "crm", {"city": "York"}) for number in range(100)], Options())
    with pytest.raises(NotLearnable):
        train([make_record(str(number), "crm", {"given_name": "Ann", "email": "a@b.org"}) for number in range(9)], Options())


def test_few_records_with_few_fields_are_learnt_from_and_the_report_says_so() -> None:
    """A hundredth of what Splink needs to begin: the shipped model's m begin."""
    records = [three_fields(record) for record in make_records(40, seed=11)]
    trained = train(records, Options(seed=3, trained_on="few people"))
    assert not trained.learnt.em_blocks
    assert "shipped model" in report(trained, len(records), 3)
    found = people_of(records, trained.model)
    linked, true = pairs_of(found), true_pairs(records)
    assert len(true & linked) >= 0.95 * len(linked)
    assert len(true & linked) >= 0.6 * len(true)


def three_fields(record: Record) -> Record:
    person = record.person
    return Record(record.id, record.source, Person(person.given_name, None, person.family_name, person.birth_date))


def test_a_model_says_nothing_of_the_name_of_the_file_that_it_is_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its version is the digest of what it says."""
    said = set()
    for name in ("people.csv", "export-of-monday.csv"):
        (tmp_path / name).write_text("id,source,given_name\n1,crm,Ann\n")
        monkeypatch.setattr(sys, "argv", ["train", str(tmp_path / name), "--out", str(tmp_path / "m.json")])
        *_, trained_on = trainer._records(trainer._arguments())
        said.add(trained_on)
    assert len(said) == 1


def test_made_up_people_are_the_same_in_every_process() -> None:
    """Sets of text have another order in each: what is drawn from one is no function of the seed."""
    code = "from services.identity.training.people import make_records; print([r.person for r in make_records(150, 7)])"
    found = [
        subprocess.run(
            [sys.executable, "-c", code], env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    ]
    assert found[0] == found[1]


def test_a_file_of_records_is_read_in_every_format(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    rows = [{"id": "1", "source": "crm", "given_name": "Ann"}, {"id": "2", "source": "crm", "given_name": "Bob"}]
    (tmp_path / "a.csv").write_text("id,source,given_name\n1,crm,Ann\n2,crm,Bob\n")
    (tmp_path / "a.jsonl").write_text("".join(f"{row}\n".replace("'", '"') for row in rows))
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    found = [read(tmp_path / f"a{ending}") for ending in (".csv", ".jsonl", ".parquet")]
    assert found[0] == found[1] == found[2]
    assert [record.person.given_name for record in found[0]] == ["ann", "bob"]
    for name in ("none.csv", "a.txt"):
        with pytest.raises(NotReadable):
            read(tmp_path / name)


WRONG = {
    "missing.csv": (None, "FILE_UNREADABLE", 2),
    "letter.txt": ("Dear Canaryville", "FORMAT_UNKNOWN", 2),
    "torn.jsonl": ('{"city": "Canaryville"}\n{"city": "Canary', "FILE_UNREADABLE", 2),
    "list.jsonl": ('["Canaryville"]', "FILE_UNREADABLE", 2),
    "latin.csv": ("id,city\n1,Canaryvill\xe9\n", "FILE_UNREADABLE", 2),
    "no.parquet": ("Canaryville", "FILE_UNREADABLE", 2),
    "other.csv": ("number,town\n1,Canaryville\n", "COLUMNS_UNKNOWN", 2),
    "few.csv": ("id,city\n1,Canaryville\n", "TOO_FEW_RECORDS", 1),
    "cities.csv": ("id,city\n" + "".join(f"{n},Canaryville\n" for n in range(60)), "TOO_FEW_COLUMNS", 1),
}


@pytest.mark.parametrize("name", WRONG)
def test_the_trainer_says_what_is_wrong_and_nothing_of_the_records(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text, reason, code = WRONG[name]
    if text is not None:
        (tmp_path / name).write_bytes(text.encode("latin-1"))
    assert told(tmp_path / name, tmp_path / "m.json", capsys, monkeypatch) == (reason, code)


def test_where_the_model_can_not_be_written_nothing_is_learnt(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert told(tmp_path / "a.csv", tmp_path / "none" / "m.json", capsys, monkeypatch) == ("FILE_UNWRITABLE", 2)


def test_without_the_extra_its_name_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "EXTRA", ("splink", "a_package_that_nobody_has"))
    assert told(tmp_path / "a.csv", tmp_path / "m.json", capsys, monkeypatch) == ("EXTRA_MISSING", 2)


def told(records: Path, out: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> tuple[str, int]:
    """The reason, and the exit code."""
    monkeypatch.setattr(sys, "argv", ["train", str(records), "--out", str(out)])
    code = trainer.main()
    said = capsys.readouterr()
    assert "canary" not in (said.err + said.out).lower()
    return said.err.split(": ")[0], code


def test_a_model_of_households_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def trapped(*_: object) -> Trained:
        raise HouseholdTrap("families were people")

    monkeypatch.setattr(trainer, "train", trapped)
    with pytest.raises(NotLearnable, match="HOUSEHOLD_TRAP: families were people"):
        trainer._train([], Options())


def test_the_command_ends_as_the_trainer_does(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "services.cli", "identity", "train", str(tmp_path / "none.csv"), "--out", str(tmp_path / "m")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("FILE_UNREADABLE: ")
