"""The stub billing system takes signed deliveries, remembers every try, and refuses on request."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse, RemoteDisconnected
from typing import Any
from urllib.parse import urlsplit

import pytest

from provisioner import signing
from provisioner.sandbox import BillingStub

OLD = "whsec_" + "b2xk" * 8
NEW = "whsec_" + "bmV3" * 8
STRANGE = "whsec_" + "c3Ry" * 8
NOW_MS = 1_800_000_000_000
BODY = b'{"type": "service.provisioned", "data": {"service_id": "1001", "password": "canary"}}'


@pytest.fixture
def billing() -> Iterator[BillingStub]:
    with BillingStub([NEW, OLD], clock=lambda: NOW_MS) as billing:
        yield billing


def deliver(
    billing: BillingStub,
    webhook_id: str = "msg_1",
    *,
    secret: str = NEW,
    body: bytes = BODY,
    at_s: int = NOW_MS // 1000,
    path: str = "",
) -> HTTPResponse:
    """One try; returns the answer, read."""
    place = urlsplit(billing.callback_url)
    connection = HTTPConnection(place.netloc, timeout=60)
    headers = signing.sign([secret], webhook_id, at_s, body) | {"Content-Type": "application/json"}
    try:
        connection.request("POST", path or place.path, body, headers)
        response = connection.getresponse()
        response.read()
        return response
    finally:
        connection.close()


@pytest.mark.parametrize("secret", [OLD, NEW])
def test_signed_delivery_is_accepted(billing: BillingStub, secret: str) -> None:
    answer = deliver(billing, secret=secret)
    assert (answer.status, answer.getheader("Content-Length")) == (204, None)
    (delivery,) = billing.deliveries
    assert (delivery.webhook_id, delivery.type, delivery.accepted) == ("msg_1", "service.provisioned", True)
    assert (delivery.data, delivery.body) == (json.loads(BODY)["data"], BODY)
    assert delivery.headers["webhook-id"] == "msg_1"
    assert delivery.received_at == NOW_MS


@pytest.mark.parametrize(
    "forged", [{"secret": STRANGE}, {"at_s": NOW_MS // 1000 - 301}], ids=lambda forged: next(iter(forged))
)
def test_bad_signature_is_recorded_and_refused(billing: BillingStub, forged: dict[str, Any]) -> None:
    assert deliver(billing, **forged).status == 401
    (delivery,) = billing.deliveries
    assert (delivery.webhook_id, delivery.accepted, delivery.status) == ("msg_1", False, 401)


def test_bad_signature_uses_up_no_answer(billing: BillingStub) -> None:
    billing.answer_with(500, times=1)
    assert deliver(billing, secret=STRANGE).status == 401
    assert deliver(billing).status == 500


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"[" * 100_000])
def test_signed_nonsense_is_refused(billing: BillingStub, body: bytes) -> None:
    assert deliver(billing, body=body).status == 400
    assert (billing.deliveries[0].type, billing.deliveries[0].data) == ("", {})


def test_malformed_secret_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="whsec_"):
        BillingStub(["whsec_short"])


def test_other_path_is_not_found(billing: BillingStub) -> None:
    assert deliver(billing, path="/else").status == 404
    assert billing.deliveries == []


def test_answers_as_told_so_many_times(billing: BillingStub) -> None:
    billing.answer_with(503, times=2, retry_after=7)
    answers = [deliver(billing) for _ in range(3)]
    assert [answer.status for answer in answers] == [503, 503, 204]
    assert [answer.getheader("Retry-After") for answer in answers] == ["7", "7", None]
    assert [delivery.accepted for delivery in billing.deliveries] == [False, False, True]


def test_answers_as_told_until_told_otherwise(billing: BillingStub) -> None:
    billing.answer_with(410)
    assert [deliver(billing).status for _ in range(3)] == [410, 410, 410]
    billing.answer_with(204)
    assert deliver(billing).status == 204


def test_any_2xx_accepts(billing: BillingStub) -> None:
    billing.answer_with(299)
    assert deliver(billing).status == 299
    assert billing.deliveries[0].accepted


def test_dropped_delivery_is_recorded(billing: BillingStub) -> None:
    billing.drop(2)
    for _ in range(2):
        with pytest.raises(RemoteDisconnected):
            deliver(billing)
    assert deliver(billing).status == 204
    assert [delivery.status for delivery in billing.deliveries] == [None, None, 204]
    assert [delivery.accepted for delivery in billing.deliveries] == [False, False, True]


def test_slow_answers_come_late(billing: BillingStub) -> None:
    billing.slow(0.2)
    began = time.monotonic()
    assert deliver(billing).status == 204
    assert time.monotonic() - began >= 0.2
    billing.slow(60)
    billing.slow(0)
    assert deliver(billing).status == 204


def test_down_refuses_until_it_comes_up(billing: BillingStub) -> None:
    url = billing.callback_url
    for _ in range(3):
        billing.go_down()
        billing.go_down()  # down already
        with pytest.raises(ConnectionRefusedError):
            deliver(billing)
        billing.come_up()
        billing.come_up()  # up already
        assert deliver(billing).status == 204
    assert billing.callback_url == url
    assert len(billing.deliveries) == 3


def test_going_down_cuts_a_waiting_delivery(billing: BillingStub) -> None:
    billing.slow(60)
    cut = threading.Event()

    def attempt() -> None:
        with pytest.raises(ConnectionError):
            deliver(billing)
        cut.set()

    caller = threading.Thread(target=attempt)
    caller.start()
    billing.wait_for(1)
    billing.go_down()
    assert cut.wait(40)  # seconds; the caller itself would wait for sixty
    caller.join()


def test_closed_while_down(billing: BillingStub) -> None:
    billing.go_down()
    billing.close()
    port = urlsplit(billing.callback_url).port
    assert port
    with BillingStub([NEW], port) as other:  # the port is free again
        assert other.callback_url == billing.callback_url


def test_waits_for_a_count_of_tries(billing: BillingStub) -> None:
    caller = threading.Thread(target=lambda: [deliver(billing, f"msg_{number}") for number in range(3)])
    caller.start()
    seen = billing.wait_for(3)
    caller.join()
    assert [delivery.webhook_id for delivery in seen] == ["msg_0", "msg_1", "msg_2"]


def test_waits_for_one_that_satisfies(billing: BillingStub) -> None:
    caller = threading.Thread(target=lambda: [deliver(billing, f"msg_{number}") for number in range(3)])
    caller.start()
    seen = billing.wait_for(lambda delivery: delivery.webhook_id == "msg_1")
    caller.join()
    assert [delivery.webhook_id for delivery in seen] == ["msg_1"]


def test_waiting_ends_and_says_what_came(billing: BillingStub) -> None:
    deliver(billing)
    with pytest.raises(TimeoutError, match=r"came only: service.provisioned \(204\)"):
        billing.wait_for(2, timeout_s=0.05)


def test_reprs_and_messages_hold_no_secrets(billing: BillingStub) -> None:
    deliver(billing)
    with pytest.raises(TimeoutError) as timeout:
        billing.wait_for(2, timeout_s=0)
    shown = repr(billing.deliveries) + str(timeout.value)
    assert "canary" not in shown
    assert "whsec_" not in shown
