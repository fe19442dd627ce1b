"""`c360 consent purposes` and `define`: what data may be used for."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated
from uuid import uuid4

import typer

from services.cli import render
from services.cli.options import DEFAULT_TIMEOUT_S, AsJson, RequestId, TimeoutS


class Basis(StrEnum):
    CONSENT = "consent"
    CONTRACT = "contract"
    LEGAL_OBLIGATION = "legal-obligation"
    LEGITIMATE_INTEREST = "legitimate-interest"


def list_purposes(as_json: AsJson = False, timeout_s: TimeoutS = DEFAULT_TIMEOUT_S) -> None:
    """List the purposes: what each may see, and on which legal basis."""
    from c360.consent.v1 import consent_pb2, consent_pb2_grpc

    from services.cli import messages
    from services.cli.client import connect

    with connect("consent") as channel:
        answer = consent_pb2_grpc.ConsentServiceStub(channel).ListPurposes(consent_pb2.ListPurposesRequest(), timeout=timeout_s)
    listed = [messages.plain(purpose) for purpose in answer.purposes]
    if as_json:
        render.document(listed)
        return
    rows = [(f"{p['name']}@{p['version']}", p["legal_basis"], p["traits"], p["description"], p["define_time"]) for p in listed]
    render.table("Purposes", ("purpose", "legal basis", "may see", "description", "defined"), rows)


def define(
    name: Annotated[str, typer.Argument(help="Lower-case letters, digits and underscores.")],
    *,
    basis: Annotated[Basis, typer.Option(help="The ground it stands on (GDPR Art. 6(1)).")],
    traits: Annotated[str, typer.Option(metavar="NAME,NAME", help='Traits and identifier namespaces it may see; "*" for all.')],
    description: Annotated[str, typer.Option(help="What it is, for people.")] = "",
    request_id: RequestId = "",
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """Define a purpose, or a new version of it.

    Example:
      c360 consent define newsletter --basis consent --traits email,first_name --description "Monthly newsletter"
    """
    from c360.consent.v1 import consent_pb2, consent_pb2_grpc

    from services.cli import messages
    from services.cli.client import connect

    purpose = consent_pb2.Purpose(
        name=name,
        description=description,
        legal_basis=consent_pb2.LegalBasis.Value(f"LEGAL_BASIS_{basis.name}"),
        traits=[trait.strip() for trait in traits.split(",") if trait.strip()],
    )
    request = consent_pb2.DefinePurposeRequest(request_id=request_id or str(uuid4()), purpose=purpose)
    with connect("consent") as channel:
        answer = consent_pb2_grpc.ConsentServiceStub(channel).DefinePurpose(request, timeout=timeout_s)
    shown = messages.plain(answer)
    if as_json:
        render.document(shown)
        return
    stored = shown["purpose"]
    render.facts(
        [
            ("purpose", f"{stored['name']}@{stored['version']}"),
            ("may see", stored["traits"]),
            ("position", shown["position"]),
        ]
    )
