"""`c360 consent receipt`: what consent tells of its decisions."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated

import typer

from services.cli import render
from services.cli.options import DEFAULT_TIMEOUT_S, TimeoutS


class ReceiptForm(StrEnum):
    KANTARA = "kantara"
    ISO_27560 = "27560"


FORMATS = {ReceiptForm.KANTARA: "RECEIPT_FORMAT_KANTARA", ReceiptForm.ISO_27560: "RECEIPT_FORMAT_ISO_27560"}


def receipt(
    decision_id: Annotated[str, typer.Argument(metavar="DECISION_ID", help="As `c360 consent decisions` lists it.")],
    form: Annotated[
        ReceiptForm, typer.Option("--format", help="Kantara Consent Receipt 1.1 (JSON), or ISO/IEC TS 27560 (JSON-LD).")
    ] = ReceiptForm.ISO_27560,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """Print the receipt of a decision, as JSON. The same each time; what the registry doesn't know is told as not stated.

    The person is named by the keyed hash of the identifier.

    Example:
      c360 consent receipt 0199f1c2-7f0e-7a3b-9c51-2f7d3b1c8e42 --format kantara
    """
    from c360.consent.v1 import evidence_pb2, evidence_pb2_grpc

    from services.cli.client import connect

    wanted = evidence_pb2.ReceiptFormat.Value(FORMATS[form])
    request = evidence_pb2.GetReceiptRequest(decision_id=decision_id, format=wanted)
    with connect("consent") as channel:
        answer = evidence_pb2_grpc.EvidenceServiceStub(channel).GetReceipt(request, timeout=timeout_s)
    render.document(json.loads(answer.document))
