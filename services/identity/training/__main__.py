"""`python -m services.identity.training`: what `c360 identity train` starts. Errors and exit codes as the command's."""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from services.identity.matching.record import Record
from services.identity.matching.trap import HouseholdTrap
from services.identity.training.people import PRECISION, RECORDS, make_records
from services.identity.training.reading import read
from services.identity.training.refusing import NotLearnable, NotReadable, NotTrained
from services.identity.training.report import report, weights
from services.identity.training.train import Options, Trained, train

EXTRA = ("splink", "duckdb", "pyarrow")
INTERRUPTED = 130
OWN_RECORDS = "own records"


def main() -> int:
    try:
        return _run(_arguments())
    except NotTrained as failure:
        print(failure, file=sys.stderr)
        return failure.exit_code
    except KeyboardInterrupt:
        print("INTERRUPTED: nothing was written", file=sys.stderr)
        return INTERRUPTED


def _run(asked: argparse.Namespace) -> int:
    """Raises NotTrained. What can be known to fail fails before the records are read: learning takes minutes."""
    _check_extra()
    _check_writable(asked.out)
    records, default_precision, trained_on = _records(asked)
    trained = _train(records, Options(asked.seed, asked.precision or default_precision, asked.review, trained_on))
    try:
        asked.out.write_bytes(trained.text)
        asked.out.with_suffix(".md").write_text(report(trained, len(records), asked.seed))
    except OSError as error:
        raise _unwritable(asked.out, error.strerror) from error
    print(f"model {trained.model.version} in {asked.out}, report in {asked.out.with_suffix('.md')}")
    print(f"for matching in the rules: {weights(trained.model)}")
    return 0


def _records(asked: argparse.Namespace) -> tuple[Sequence[Record], float, str]:
    """With the precision that is asked of them where nobody says another, and what the model says that it was trained on: not the file's
    name, since the same records are to give the same model, under the same version.
    """
    if asked.records is not None:
        return read(asked.records, asked.region, not asked.month_first), Options.link_precision, asked.name or OWN_RECORDS
    made_up = f"made-up people (services/identity/training/people.py, {RECORDS:,} people, seed {asked.seed}); no data set"
    return make_records(RECORDS, asked.seed), PRECISION, made_up


def _train(records: Sequence[Record], options: Options) -> Trained:
    """Raises NotLearnable."""
    try:
        return train(records, options)
    except HouseholdTrap as trap:
        raise NotLearnable("HOUSEHOLD_TRAP", str(trap)) from trap


def _check_extra() -> None:
    missing = [name for name in EXTRA if find_spec(name) is None]
    if missing:
        raise NotReadable("EXTRA_MISSING", f"training needs pip install 'customer360[train]'; missing are {', '.join(missing)}")


def _check_writable(out: Path) -> None:
    if not out.parent.is_dir():
        raise _unwritable(out, "there is no such directory")
    if out.is_dir() or not os.access(out if out.exists() else out.parent, os.W_OK):
        raise _unwritable(out, "it may not be written")


def _unwritable(out: Path, why: str | None) -> NotReadable:
    return NotReadable("FILE_UNWRITABLE", f"{out}: {why or 'it may not be written'}; --out says where the model goes")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="c360 identity train")
    parser.add_argument("records", type=Path, nargs="?")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--region")
    parser.add_argument("--month-first", action="store_true")
    parser.add_argument("--name")
    parser.add_argument("--precision", type=float)
    parser.add_argument("--review", type=float, default=Options.review_probability)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
