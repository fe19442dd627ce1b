"""Who may do what at the broker: an account for each service with what it needs, by subject, and one that may do all.

Which subjects these are is told by `shared/bus`; what isn't granted here the broker refuses.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from services.stack.ports import SERVICES

NODE: Final = "node"  # what the nodes of a cluster are to each other; no account
OPERATOR: Final = "operator"  # may do all: restores, and looks when something is wrong
ACCOUNTS: Final = (*SERVICES, OPERATOR)
PURGED: Final = ("profile", "consent", "ingest")  # who is asked what it still holds of an erased customer
ANSWERED_WITHIN: Final = "60s"  # how long a question may be answered, once; longer than anybody waits for it


class Needs(msgspec.Struct, frozen=True):
    """`fills`: streams that it makes and publishes to; `refills`: those that it also makes anew from its log. `follows`: streams that it reads;
    `asks_for`: those of them whose owner it tells what is missing. `says` and `hears`: further subjects; `asks` the API beyond that."""

    fills: dict[str, str]  # the stream and its subjects
    refills: tuple[str, ...] = ()
    follows: tuple[str, ...] = ("CALLERS",)
    asks_for: tuple[str, ...] = ()
    says: tuple[str, ...] = ()
    hears: tuple[str, ...] = ()
    asks: tuple[str, ...] = ()


NEEDS: Final = {
    "ingest": Needs(
        fills={"INGEST": "INGEST", "SOURCE": "SOURCE"},
        refills=("SOURCE",),
        follows=("INGEST", "SOURCE", "CUSTOMER", "CALLERS"),
        asks_for=("SOURCE",),
        hears=("c360.vault.destroyed", "c360.erasure.ingest"),
    ),
    "identity": Needs(
        fills={"CUSTOMER": "CUSTOMER"},
        refills=("CUSTOMER",),
        follows=("INGEST", "CALLERS"),
        says=("c360.vault.destroyed", *(f"c360.erasure.{one}" for one in PURGED)),
        hears=("c360.vault.destroyed",),
        asks=("STREAM.PURGE.INGEST", "STREAM.MSG.GET.INGEST"),
    ),
    "profile": Needs(
        fills={"PROFILE": "PROFILE.*"},
        follows=("CUSTOMER", "CONSENT", "CALLERS"),
        asks_for=("CUSTOMER", "CONSENT"),
        says=("c360.enforcement", "c360.settle.profile"),
        hears=("c360.vault.destroyed", "c360.erasure.profile", "c360.settle.profile"),
        asks=("STREAM.MSG.GET.PROFILE",),
    ),
    "consent": Needs(
        fills={"CONSENT": "CONSENT", "CALLERS": "CALLERS"},
        refills=("CONSENT",),
        follows=("CUSTOMER", "CALLERS"),
        asks_for=("CUSTOMER",),
        says=("c360.settle.consent",),
        hears=("c360.enforcement", "c360.erasure.consent", "c360.settle.consent"),
    ),
}


def authorization(password_of: Callable[[str], str]) -> str:
    """Of nats.conf. Without an account nobody gets in; the passwords stand in it, so the file is its owner's alone."""
    users = [{"user": name, "password": password_of(name), "permissions": _permissions(name)} for name in ACCOUNTS]
    return "authorization: " + json.dumps({"users": users}, indent=2) + "\n"


def cluster(listen: str, routes: Sequence[str], password: str, advertise: str = "") -> str:
    """Of nats.conf, where there are several nodes: they listen to each other at `routes`, and let in who has the password.

    `advertise`, if any, is where they say that they are in place of `listen`.
    """
    told = {
        "name": "customer360",
        "listen": listen,
        "authorization": {"user": NODE, "password": password},
        "routes": [f"nats://{NODE}:{password}@{route}" for route in routes],
    }
    told |= {"advertise": advertise} if advertise else {}
    return "cluster: " + json.dumps(told, indent=2) + "\n"


def _permissions(name: str) -> dict[str, Any]:
    if name == OPERATOR:
        return {"publish": ">", "subscribe": ">"}
    needs = NEEDS[name]
    return {
        "publish": {"allow": _published(needs)},
        "subscribe": {"allow": [*needs.hears, *(f"c360.refill.{stream}" for stream in needs.refills), f"_INBOX.{name}.>"]},
        "allow_responses": {"max": 1, "expires": ANSWERED_WITHIN},
    }


def _published(needs: Needs) -> list[str]:
    calls = [f"STREAM.{call}.{stream}" for stream in needs.fills for call in ("INFO", "CREATE")]
    calls += [f"STREAM.DELETE.{stream}" for stream in needs.refills]
    calls += [f"{call}.{stream}" for stream in needs.follows for call in ("STREAM.INFO", "CONSUMER.CREATE")]
    calls += [f"CONSUMER.MSG.NEXT.{stream}.*" for stream in needs.follows]
    missing = [f"c360.refill.{stream}" for stream in needs.asks_for]
    api = dict.fromkeys(f"$JS.API.{call}" for call in (*calls, *needs.asks))
    return [*needs.fills.values(), *needs.says, *missing, *api]
