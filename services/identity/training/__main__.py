"""`python -m services.identity.training`: what `c360 identity train` starts. Exit codes as the command's."""

import argparse
import sys
from pathlib import Path

from services.identity.matching.trap import HouseholdTrap
from services.identity.training.learn import NotLearnable
from services.identity.training.people import PRECISION, RECORDS, make_records
from services.identity.training.reading import NotReadable, read
from services.identity.training.report import report
from services.identity.training.train import Options, train


def main() -> int:
    asked = _arguments()
    try:
        if asked.records is None:
            records, default_precision = make_records(RECORDS, asked.seed), PRECISION
            trained_on = (
                f"made-up people (services/identity/training/people.py, {RECORDS:,} people, seed {asked.seed}); no data set"
            )
        else:
            records, default_precision = read(asked.records, asked.region, not asked.month_first), Options.link_precision
            trained_on = asked.name or asked.records.name
        trained = train(records, Options(asked.seed, asked.precision or default_precision, asked.review, trained_on))
    except (NotReadable, NotLearnable, HouseholdTrap) as failure:
        print(f"{type(failure).__name__}: {failure}", file=sys.stderr)
        return 1
    except ImportError as missing:
        print(f"training needs the extra: pip install 'customer360[train]' ({missing.name} is missing)", file=sys.stderr)
        return 2
    asked.out.write_bytes(trained.text)
    asked.out.with_suffix(".md").write_text(report(trained, len(records), asked.seed))
    print(f"model {trained.model.version} in {asked.out}, report in {asked.out.with_suffix('.md')}")
    return 0


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
