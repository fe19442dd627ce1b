"""Which programs may call, what proves who they are, and what each may do. Consent publishes it; every service goes by it."""

from typing import Literal

from shared.events.catalogue import Public, register

OWNER = "consent"
FOLLOWERS = ("ingest", "identity", "profile", "consent")

# What a method does to whom (shared/rpc/methods.py says it of each).
Group = Literal["read", "export", "decide", "administer", "audit"]

ALL_PURPOSES = "*"
LOCAL_ISSUER = "customer360"  # of tokens that an installation makes for itself, by a key beside its keyring
OPERATOR = "operator"  # who runs the installation: a caller that is there from the beginning


class CallerDefined(Public, frozen=True, kw_only=True):
    """A program, nobody in it; a change is a new version of the caller. One without credentials is let in nowhere."""

    request_id: str
    name: str
    version: int
    description: str = ""
    issuer: str = ""  # of its JSON Web Tokens (iss)
    subject: str = ""  # as that issuer names it (sub)
    certificate_names: tuple[str, ...] = ()  # subject alternative names of its client certificates, any of them
    purposes: tuple[str, ...] = ()  # that it may declare; "*": all
    groups: tuple[Group, ...] = ()  # of methods that it may call
    calls_per_s: int = 0  # for each purpose, of each service's process; 0: as many as it likes
    burst: int = 0  # calls at once; 0: as many as in a second
    misses_per_min: int = 0  # questions about customers whom nobody knows; 0: as many as it likes
    customers_per_hour: int = 0  # different ones that it reads; 0: as many as it likes
    defined_by: str = ""
    reason: str = ""
    in_force_at: int = 0

    def may_declare(self, purpose: str) -> bool:
        return purpose in self.purposes or ALL_PURPOSES in self.purposes


class OverrideDefined(Public, frozen=True, kw_only=True):
    """Break-glass: for some hours a caller may declare a purpose that isn't its own. Closing it and reviewing what was read under it
    are versions of it."""

    request_id: str
    name: str
    version: int
    caller: str
    purpose: str
    ticket: str
    approved_by: str  # somebody else than who opened it
    ends_at: int
    closed: bool = False  # before its end
    review: str = ""  # what somebody else than who opened it found, having looked at what was read; empty: nobody has
    opened_by: str = ""  # `defined_by` of its first version
    defined_by: str = ""
    reason: str = ""
    in_force_at: int = 0

    def waits_for_review(self, now: int) -> bool:
        return not self.review and (self.closed or self.ends_at <= now)


CALLER_DEFINED = register("consent.caller_defined", 1, CallerDefined)
OVERRIDE_DEFINED = register("consent.override_defined", 1, OverrideDefined)
