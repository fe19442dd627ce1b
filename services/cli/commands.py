"""What `c360` can be told, by name. Only the parts of the one that is called are imported: all of them take longer than an answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from functools import cache
from importlib import import_module
from typing import Any

import typer
from typer import Typer


def _profile() -> Typer:
    from services.cli import access_tokens, lifetime, profile, profile_explain, profile_history, profile_rules, replay

    for act in (replay.replay, profile_history.diff, profile_history.history, profile_explain.explain):
        profile.app.command()(act)
    profile.app.add_typer(profile_rules.app, name="rules")
    profile.app.add_typer(access_tokens.app, name="tokens")
    profile.app.add_typer(lifetime.app, name="lifetime")
    return profile.app


def _identity() -> Typer:
    from services.cli import identity, identity_decisions, identity_explain, identity_matching, training

    for act in (identity_explain.why, identity_explain.history, training.train):
        identity.app.command()(act)
    identity.app.add_typer(identity_decisions.app)
    identity.app.add_typer(identity_matching.app, name="match")
    return identity.app


def _rights() -> Typer:
    from services.cli import rights
    from services.cli.rights_report.command import report

    rights.app.command()(report)
    return rights.app


def _segments() -> Typer:
    from services.cli import segment_watch, segments

    segments.app.command()(segment_watch.watch)
    return segments.app


def _audit() -> Typer:
    from services.cli import audit, re_derive, simulate_policy, who_read

    for act in (who_read.who_read, who_read.uses, who_read.exposures):
        audit.app.command()(act)
    audit.app.command("re-derive")(re_derive.re_derive)
    audit.app.command()(simulate_policy.simulate)
    return audit.app


def _group_of(module: str) -> Callable[[], Typer]:
    """One that stands in one module."""
    return lambda: import_module(f"services.cli.{module}").app


def _status() -> Callable[..., None]:
    from services.cli.status import status

    return status


def _doctor() -> Callable[..., None]:
    from services.cli.doctor.command import doctor

    return doctor


def _import() -> Callable[..., None]:
    from services.cli.importing.command import import_file

    return import_file


def _export() -> Callable[..., None]:
    from services.cli.exporting.command import export

    return export


def _whatif() -> Callable[..., None]:
    from services.cli.profile_rules import whatif

    return whatif


ACTS: dict[str, Callable[[], Callable[..., None]]] = {
    "status": _status,
    "doctor": _doctor,
    "import": _import,
    "export": _export,
    "whatif": _whatif,
}
GROUPS: dict[str, Callable[[], Typer]] = {
    "profile": _profile,
    "consent": _group_of("consent"),
    "events": _group_of("events"),
    "identity": _identity,
    "customer": _group_of("customer"),
    "rights": _rights,
    "parked": _group_of("parked"),
    "segments": _segments,
    "sources": _group_of("sources"),
    "plans": _group_of("plans"),
    "audit": _audit,
    "lake": _group_of("lake.command"),
    "vault": _group_of("vault"),
}


@cache
def command(name: str) -> Any:
    """Typer's command or group of that name; KeyError if there is none."""
    app = typer.Typer()
    if name in ACTS:
        app.command(name)(ACTS[name]())
        return typer.main.get_group(app).commands[name]
    app.add_typer(GROUPS[name](), name=name)
    return typer.main.get_group(app).commands[name]


class Commands(MutableMapping[str, Any]):
    """All of them, each made when it is asked for."""

    def __getitem__(self, name: str) -> Any:
        return command(name)

    def __iter__(self) -> Iterator[str]:
        return iter((*ACTS, *GROUPS))

    def __len__(self) -> int:
        return len(ACTS) + len(GROUPS)

    def __setitem__(self, name: str, _: Any) -> None:
        raise TypeError(f"{name}: commands are named in {__name__}")

    def __delitem__(self, name: str) -> None:
        raise TypeError(f"{name}: commands are named in {__name__}")
