"""`c360 profile lifetime`: starts the fitter, which is profile's, as a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from services.cli.options import MOST

app = typer.Typer(no_args_is_help=True, help="Models of customer lifetime value, fitted to your own purchases, offline.")


@app.command()
def fit(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="What `c360 export` wrote: JSON lines, CSV or Parquet.")],
    *,
    event: Annotated[list[str], typer.Option(help="Name of the events that are purchases; may be given several times.")],
    value: Annotated[str, typer.Option(metavar="PROPERTY", help="Where the amount stands: total, or order.total.")],
    out: Annotated[Path, typer.Option(help="Where the model is written.")] = Path("lifetime.json"),
    name: Annotated[str, typer.Option(help="What it was fitted to, as people call it. Default: the files' names.")] = "",
    holdout_days: Annotated[
        int, typer.Option(min=0, max=MOST, help="The last days, to check it on. Default: a third of what there is.")
    ] = 0,
) -> None:
    """Fit a model of who will buy again, and for how much (BG/NBD and Gamma-Gamma).

    What is written goes into the rules as the `model` of a computed trait with the
    aggregate lifetime_value. All amounts are in one currency.
    Needs: pip install 'customer360\\[lifetime]'.

    Example:
      c360 profile lifetime fit shop.parquet --event "Order Completed" --value total
    """
    arguments = [*map(str, files), *(f"--event={one}" for one in event), f"--value={value}", f"--out={out}", f"--name={name}"]
    arguments.append(f"--holdout-days={holdout_days}")
    done = subprocess.run([sys.executable, "-m", "services.profile.lifetime", *arguments], check=False)
    raise typer.Exit(done.returncode)
