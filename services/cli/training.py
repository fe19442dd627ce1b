"""`c360 identity train`: starts the trainer, which is identity's, as a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from services.cli.errors import Refused
from services.cli.options import MOST, number


def train(
    records: Annotated[
        Path, typer.Argument(help="CSV with a header, JSON lines (.jsonl) or Parquet; one record of a person a row.")
    ],
    out: Annotated[Path, typer.Option(help="Where the model is written; its report goes beside it, with the ending .md.")] = Path(
        "model.json"
    ),
    seed: Annotated[int, typer.Option(min=0, max=MOST, help="The same records and seed give the same model.")] = 1,
    region: Annotated[str | None, typer.Option(help="ISO 3166 country that completes phone numbers, such as DE.")] = None,
    month_first: Annotated[bool, typer.Option(help="Read 03/04/1990 as 4 March.")] = False,
    precision: Annotated[
        float,
        typer.Option(
            min=0.5,
            max=0.999999,
            callback=number,
            help="Share of the linked pairs that the model has to expect to be one person's.",
        ),
    ] = 0.995,
    review: Annotated[
        float, typer.Option(min=0.5, max=0.999999, callback=number, help="Probability from which people are asked.")
    ] = 0.5,
) -> None:
    """Learn a matching model from your own records, offline.

    Columns: id, source, given_name, middle_name, family_name, birth_date, street,
    street_number, postcode, city, email, phone, national_id; what is missing isn't compared.
    It ends with the weights for the rules of matching (`c360 identity rules`), as they are written there.
    Nobody has to say who is who. Needs: pip install 'customer360\\[train]'.

    Fails with FILE_UNREADABLE, FORMAT_UNKNOWN, COLUMNS_UNKNOWN, FILE_UNWRITABLE or
    EXTRA_MISSING (exit code 2), TOO_FEW_RECORDS, TOO_FEW_COLUMNS or HOUSEHOLD_TRAP (1).
    """
    arguments = [str(records), "--out", str(out), "--seed", str(seed), "--precision", str(precision), "--review", str(review)]
    arguments += ["--region", region] if region else []
    arguments += ["--month-first"] if month_first else []
    done = subprocess.run([sys.executable, "-m", "services.identity.training", *arguments], check=False)
    if done.returncode < 0:
        failure = Refused("TRAINER_KILLED", f"the trainer was ended by signal {-done.returncode}; nothing was written")
        failure.hint = "Where memory ran out, train on a sample: some 100,000 records tell as much as all."
        raise failure
    raise typer.Exit(done.returncode)
