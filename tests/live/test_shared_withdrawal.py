"""What was forbidden by an address still holds of those whose it was, also when somebody else names the address as hers."""

from uuid import uuid4

import pytest

from services.stack.stack import Stack
from tests.live.command import Command


@pytest.mark.parametrize("first", ["account", "address"])
def test_nobody_ends_a_withdrawal_by_naming_the_address_that_it_came_from(stack: Stack, first: str) -> None:
    """Address first: it has a customer of its own, which the account is merged with and split from."""
    c360, mark = Command(stack.data_directory), uuid4().hex[:8]
    ann, address, purpose = f"ann-{mark}", f"ann-{mark}@shop.example", f"letters_{mark}"
    key = ("--write-key", c360.json("sources", "create", f"shop-{mark}")["write_key"])
    c360.define_purpose(purpose, "city")
    if first == "address":
        c360.json("events", "track", "Subscribed", "-a", f"browser-{mark}", "--id", f"email:{address}", *key)
    sent = c360.json("events", "identify", "-u", ann, "-t", f"email={address}", "-t", "city=Kiel", *key)
    c360.run("profile", "get", f"email:{address}", "--purpose", "service", "--fresh", sent["positions"][0], "--timeout", "20")
    c360.json("consent", "grant", f"user_id:{ann}", purpose, "--method", "web-form")
    c360.json("consent", "withdraw", f"email:{address}", purpose)
    assert "CONSENT_WITHDRAWN" in c360.run("profile", "get", f"user_id:{ann}", "--purpose", purpose, code=1).stderr

    foreign = c360.json("events", "identify", "-u", f"eve-{mark}", "-t", f"email={address}", *key)["positions"][0]
    shown = c360.json("profile", "get", f"user_id:{ann}", "--purpose", "service", "--fresh", foreign)
    assert [one["namespace"] for one in shown["identifiers"]] == ["user_id"]  # the address is contested
    assert "CONSENT_WITHDRAWN" in c360.run("profile", "get", f"user_id:{ann}", "--purpose", purpose, code=1).stderr
    checked = c360.run("consent", "check", f"user_id:{ann}", purpose, "--json", code=1)
    assert "CONSENT_WITHDRAWN" in checked.stdout + checked.stderr
    c360.json("consent", "grant", f"user_id:{ann}", purpose, "--method", "web-form")
    assert "Kiel" in c360.run("profile", "get", f"user_id:{ann}", "--purpose", purpose).stdout


def test_an_address_that_was_somebodys_by_itself_is_nobodys_when_another_names_it_and_is_back_when_she_leaves(stack: Stack) -> None:
    """A sixth address is one too many for its account, and founded a customer that no event was about."""
    c360, mark = Command(stack.data_directory), uuid4().hex[:8]
    ann, eve, purpose = f"ann-{mark}", f"eve-{mark}", f"news_{mark}"
    key = ("--write-key", c360.json("sources", "create", f"shop-{mark}")["write_key"])
    c360.define_purpose(purpose, "city")
    for number in range(1, 7):
        traits = ("-t", f"email=ann-{number}-{mark}@shop.example")
        sent = c360.json("events", "identify", "-u", ann, *traits, *key)["positions"][0]
    sixth = f"email:ann-6-{mark}@shop.example"
    get = ("profile", "get", sixth, "--purpose", "service", "--timeout", "20")
    customer = c360.json(*get, "--fresh", sent)["customer_id"]
    c360.json("consent", "withdraw", sixth, purpose)
    assert "CONSENT_WITHDRAWN" in c360.run("consent", "check", sixth, purpose, "--json", code=1).stdout

    foreign = c360.json("events", "identify", "-u", eve, "-t", f"email={sixth[6:]}", *key)["positions"][0]
    assert "IDENTIFIER_UNKNOWN" in c360.run(*get, "--fresh", foreign, code=1).stderr
    assert "IDENTIFIER_CONTESTED" in c360.run("identity", "resolve", sixth, code=1).stderr
    assert "CONSENT_WITHDRAWN" in c360.run("consent", "check", sixth, purpose, "--json", code=1).stdout
    assert c360.json("profile", "get", customer, "--purpose", "service")["identifiers"] == []

    c360.run("customer", "erase", f"user_id:{eve}", "--reason", "asked", "--yes")
    again = c360.json("events", "identify", "-u", ann, "-t", f"email={sixth[6:]}", *key)["positions"][0]
    assert c360.json(*get, "--fresh", again)["customer_id"] == customer
