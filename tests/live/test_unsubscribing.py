"""One-click unsubscribing (RFC 8058), from the link in a message to the check that goes by it."""

import asyncio
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from c360.common.v1.common_pb2 import Identifier
from c360.consent.v1 import consent_pb2, registry_pb2
from c360.consent.v1 import unsubscribe_pb2 as pb
from c360.consent.v1.unsubscribe_pb2_grpc import UnsubscribeServiceStub

from tests.live.consent_shop import DEADLINE_S, Shop, an_email, refusal

ONE_CLICK: dict[str, Any] = {
    "content": "List-Unsubscribe=One-Click",
    "headers": {"content-type": "application/x-www-form-urlencoded"},
}


async def links(shop: Shop, *identifiers: Identifier, purpose: str = "marketing", days: int = 0) -> list[Any]:
    request = pb.CreateUnsubscribeLinksRequest(purpose=purpose, identifiers=identifiers, valid_days=days)
    calls: Any = UnsubscribeServiceStub(shop.channel)
    return list((await calls.CreateUnsubscribeLinks(request, timeout=DEADLINE_S)).results)


async def outcomes(shop: Shop, identifier: Identifier) -> list[tuple[int, str]]:
    return [(one.outcome, one.method) for one in await shop.decisions(identifier)]


def client() -> httpx.AsyncClient:
    return httpx.AsyncClient(timeout=DEADLINE_S)


async def test_one_click_withdraws_once_and_a_look_changes_nothing(shop: Shop) -> None:
    email = an_email()
    await shop.founded(email)
    await shop.decide(email, "marketing", consent_pb2.OUTCOME_GRANTED, confirmed=True)
    [made] = await links(shop, email)
    url = made.link.url
    assert url.startswith(shop.stack.endpoints.consent_http + "/u/")
    assert (made.link.list_unsubscribe, made.link.list_unsubscribe_post) == (f"<{url}>", "List-Unsubscribe=One-Click")
    async with client() as http:
        for method in ("GET", "HEAD"):  # scanners of mail follow every link
            looked = await http.request(method, url, headers={"accept-language": "de-DE"})
            assert (looked.status_code, "abmelden" in looked.text.lower()) == (200, method == "GET")
        nothing = await http.post(url, content="List-Unsubscribe=Maybe", headers=ONE_CLICK["headers"])
        assert nothing.status_code == 400
        assert (await shop.check("marketing", identifier=email)).permitted
        clicks = await asyncio.gather(*(http.post(url, **ONE_CLICK) for _ in range(5)))
        assert {(one.status_code, one.is_redirect) for one in clicks} == {(200, False)}
        assert not (await shop.check("marketing", identifier=email)).permitted
        assert (await outcomes(shop, email))[1:] == [(consent_pb2.OUTCOME_WITHDRAWN, "one-click")]
        await shop.decide(email, "marketing", consent_pb2.OUTCOME_GRANTED, confirmed=True)
        by_hand = await http.post(url, files={"List-Unsubscribe": (None, "Page")})
        assert by_hand.status_code == 200
    assert (await outcomes(shop, email))[2:] == [
        (consent_pb2.OUTCOME_GRANTED, ""),
        (consent_pb2.OUTCOME_WITHDRAWN, "unsubscribe-page"),
    ]


async def test_what_is_no_link_of_ours_is_told_on_a_page_and_leads_nowhere(shop: Shop) -> None:
    [made] = await links(shop, an_email())
    url = made.link.url
    async with client() as http:
        for altered in (url[:-1], url + "A", url + "/", url[: url.rindex("/") + 1], url.replace("/u/", "/u/%00")):
            for answer in (await http.get(altered), await http.post(altered, **ONE_CLICK)):
                assert answer.status_code == 404
                assert "This link does not work" in answer.text
        assert (await http.put(url)).status_code == 405
        assert (await http.post(url, content=b"x" * 5_000)).status_code == 413
        page = await http.get(url)
        assert page.headers["cache-control"] == "no-store"
        assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
        token = url.rpartition("/")[2]
        assert token not in page.text, "whoever saves the page doesn't keep the link"


async def test_each_of_a_batch_has_a_link_or_a_refusal_in_order(shop: Shop) -> None:
    ann, bob = an_email(), an_email()
    first, broken, second = await links(shop, ann, Identifier(namespace="email", value="nobody"), bob)
    assert (first.WhichOneof("outcome"), second.WhichOneof("outcome")) == ("link", "link")
    assert broken.refusal.reason == "IDENTIFIER_INVALID"
    assert first.link.url != second.link.url
    async with client() as http:
        await http.post(first.link.url, **ONE_CLICK)
    assert (len(await outcomes(shop, ann)), await outcomes(shop, bob)) == (1, [])
    for reason, call in {
        "BATCH_EMPTY": links(shop),
        "PURPOSE_UNKNOWN": links(shop, ann, purpose="nobody_defined_this"),
        "NOTHING_TO_DECIDE": links(shop, ann, purpose="service"),
        "UNSUBSCRIBE_DAYS_INVALID": links(shop, ann, days=29),
    }.items():
        assert await refusal(call) == ("INVALID_ARGUMENT", reason)


async def test_nothing_of_a_link_stands_in_a_log(shop: Shop) -> None:
    canary = Identifier(namespace="email", value=f"canary-{uuid4().hex}@example.com")
    [made] = await links(shop, canary)
    async with client() as http:
        await http.get(made.link.url)
        await http.post(made.link.url, **ONE_CLICK)
        await http.post(made.link.url + "A", **ONE_CLICK)
        metrics = (await http.get(shop.stack.endpoints.metrics["consent"])).text
    log = (Path(shop.stack.data_directory) / "logs" / "consent.log").read_text()
    for told in (canary.value, canary.value.partition("@")[0], made.link.url.rpartition("/")[2]):
        assert told not in log
        assert told not in metrics


@pytest.mark.parametrize("basis", [registry_pb2.LEGAL_BASIS_LEGITIMATE_INTEREST, registry_pb2.LEGAL_BASIS_CONSENT])
async def test_a_click_denies_whatever_the_purpose_stands_on(shop: Shop, basis: int) -> None:
    name, email = f"p_{uuid4().hex}", an_email()
    await shop.founded(email)
    await shop.define_purpose(name, legal_basis=basis, traits=["email"])
    [made] = await links(shop, email, purpose=name)
    async with client() as http:
        assert (await http.post(made.link.url, **ONE_CLICK)).status_code == 200
    assert (await shop.check(name, identifier=email)).reason == "CONSENT_WITHDRAWN"
