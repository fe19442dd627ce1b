"""What a training found, as text for whoever decides on activating the model. No personal data."""

from collections.abc import Iterator
from math import ceil

import msgspec

from services.identity.matching.model import Model, probability_of
from services.identity.training.train import Trained


def report(trained: Trained, records: int, seed: int) -> str:
    return "\n".join(_lines(trained, records, seed)) + "\n"


def weights(model: Model) -> str:
    """For the rules of matching, to be written there as they stand: no lower than the model's own, in hundredths of a bit."""
    rounded = {name: ceil(getattr(model, name) * 100) / 100 for name in ("link_weight", "review_weight")}
    return msgspec.json.encode(rounded).decode()


def _lines(trained: Trained, records: int, seed: int) -> Iterator[str]:
    model, learnt = trained.model, trained.learnt
    yield f"# Model {model.version}\n"
    yield f"Trained on {model.trained_on}; {records:,} records, seed {seed}."
    yield f"Two random records are one person with a probability of {probability_of(model.prior_weight):.2g};"
    yield f"{learnt.people:,} people were found. {_beginning(trained)}\n"
    yield _families(model, records * (records - 1) // 2)
    yield "What the model promises (only as true as the model; check it against people you know):\n"
    yield "| from | weight, bits | pairs | precision | recall |\n|---|---|---|---|---|"
    for name, found in (("link", trained.link), ("review", trained.review)):
        yield f"| {name} | {found.weight:.2f} | {found.pairs:,} | {found.precision:.4f} | {found.recall:.4f} |"
    yield f"\nFor `matching` in the rules, beside what stands there: `{weights(model)}`"
    yield "\n| field | records that have it |\n|---|---|"
    yield from (f"| {name} | {share:.1%} |" for name, share in learnt.known.items())
    yield "\n| comparison | level | m | u | weight, bits |\n|---|---|---|---|---|"
    for comparison in model.comparisons:
        for level in comparison.levels:
            if level.m is not None and level.u is not None:
                yield f"| {comparison.name} | {level.label} | {level.m:.5f} | {level.u:.2g} | {level.weight:+.2f} |"


def _families(model: Model, all_pairs: int) -> str:
    shared = ", ".join(f"{name} {share:.0%}" for name, share in model.family.shared.items())
    return (
        f"About {model.family.share * all_pairs:,.0f} pairs of records are of two of a family. Of these agree as one person's would:"
        f" {shared}; of one birth date, and another given name, are {model.family.twins:.2%}."
        f" Of the people of one source, another lacks {model.family.absent:.1%}.\n"
    )


def _beginning(trained: Trained) -> str:
    blocks = ", ".join(" + ".join(block) for block in trained.learnt.em_blocks)
    if blocks:
        return f"EM began on pairs of equal {blocks}."
    return (
        "Too few pairs of records agree in something telling, so EM began with the m of the shipped model: check the links"
        " against people you know before you activate this model."
    )
