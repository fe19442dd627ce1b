"""`python -m services.profile.lifetime`: what `c360 profile lifetime fit` starts. Exit codes as the command's."""

import argparse
import sys
from pathlib import Path

import msgspec

from services.profile.lifetime.reading import NotReadable, read, table_of


def main() -> int:
    asked = _arguments()
    try:
        from services.profile.lifetime.fit import NotFitted, fit
        from services.profile.lifetime.holdout import check
    except ImportError as missing:
        print(
            f"EXTRA_MISSING: fitting needs the extra: pip install 'customer360[lifetime]' ({missing.name} is missing)",
            file=sys.stderr,
        )
        return 2
    try:
        spent = read(asked.files, frozenset(asked.event), asked.value)
        fitted = fit(table_of(spent), asked.name or ", ".join(path.name for path in asked.files))
        checked = check(spent, asked.holdout_days)
    except ImportError as missing:
        print(
            f"EXTRA_MISSING: reading Parquet needs the extra: pip install 'customer360[lifetime]' ({missing.name} is missing)",
            file=sys.stderr,
        )
        return 2
    except NotReadable as failure:
        print(f"FILE_UNREADABLE: {failure}", file=sys.stderr)
        return 2
    except NotFitted as failure:
        print(f"NOT_FITTED: {failure}", file=sys.stderr)
        return 1
    try:
        asked.out.write_bytes(msgspec.json.format(msgspec.json.encode(fitted.model), indent=1) + b"\n")
    except OSError as failure:
        print(f"FILE_UNWRITABLE: {asked.out}: {failure.strerror}; --out says where the model goes", file=sys.stderr)
        return 2
    print(f"model of {fitted.model.customers:,} customers in {asked.out}; {fitted.repeating:,} of them bought again")
    print(checked)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="c360 profile lifetime fit")
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--event", action="append", required=True)
    parser.add_argument("--value", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--name", default="")
    parser.add_argument("--holdout-days", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
