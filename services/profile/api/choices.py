"""By which rules a request wants its answer."""

from c360.profile.v1 import rules_pb2 as pb

from services.profile.choosing import THEN, RulesChoice
from shared.errors import InvalidInput


def rules_choice(choice: pb.RulesChoice) -> RulesChoice:
    """Raises InvalidInput (RULES_VERSION_INVALID)."""
    if choice.WhichOneof("choice") == "version":
        if not choice.version:
            raise InvalidInput("versions of the rules count from 1", reason="RULES_VERSION_INVALID")
        return choice.version
    return "now" if choice.of == pb.RULES_OF_NOW else THEN
