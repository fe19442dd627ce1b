"""Tags of answers: the same as long as the answer is, and nothing that can be guessed from."""

import base64
import hashlib
import hmac
from collections.abc import Callable

from c360.profile.v1 import profile_pb2 as pb

from services.profile.api.masks import Mask
from services.profile.api.messages import as_of_its_events
from services.profile.domain.rules import Rules
from shared.events.consent import PurposeDefined

TAG_BYTES = 16  # of keyed BLAKE2b, half as long about it as HMAC-SHA-256
Tag = Callable[[pb.Profile, Rules, PurposeDefined, Mask], str]


def tagger(key: bytes) -> Tag:
    """Keyed, because a tag may outlive the answer where it is kept: without the key nobody can try what it was made from.

    It is made from what is sent, so that nothing which changes the answer can be forgotten, and nothing else changes it; but the
    passing of time alone doesn't, where all it changes is how long ago something was.
    """
    key = hmac.digest(key, b"etag", hashlib.sha256)  # for this use alone

    def tag(message: pb.Profile, rules: Rules, purpose: PurposeDefined, mask: Mask) -> str:
        wanted = "\n".join((purpose.name, *mask.fields, *sorted(mask.traits or ())))
        content = wanted.encode() + b"\0" + as_of_its_events(message, rules).SerializeToString(deterministic=True)
        digest = hashlib.blake2b(content, key=key, digest_size=TAG_BYTES).digest()
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")

    return tag
