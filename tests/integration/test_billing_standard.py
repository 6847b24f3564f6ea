"""Platform `standard`: everything of the suite, and what a callback alone can answer."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from provisioner.billing import Errand
from provisioner.billing.standard import TIMEOUT_S, StandardBilling
from provisioner.delivery import render
from provisioner.errors import BillingRefused, BillingUnavailable
from provisioner.sandbox.wire import Answer, Exchange, Listener
from provisioner.signing import ID, verify
from tests.certificate import self_signed
from tests.integration.billing_conformance import BillingConformance, failed
from tests.integration.line_clock import LineClock, on_a_clock

SECRETS = ["whsec_" + base64.b64encode(mark * 32).decode() for mark in (b"n", b"o")]
MOMENT_S = 0.3  # left to wait for an answer that does not come
QUERY = "token=canary-in-the-address"


def now_ms() -> int:
    return round(time.time() * 1000)


class StandardBench:
    """A shop at a callback address, which keeps the bodies of what it took by their webhook-ids."""

    def __init__(self, clock: LineClock) -> None:
        self.clock = clock
        self.taken: dict[str, bytes] = {}
        self._listener = Listener(self._serve)
        self.place = f"{self._listener.url}/provisioning"
        self.billing = StandardBilling(f"{self.place}?{QUERY}", SECRETS, now_ms)
        self.accept()
        self.secrets = [spelled for secret in SECRETS for spelled in (secret, secret[6:])] + [QUERY]

    def accept(self) -> None:
        self._listener.come_up()
        self.take_then(lambda exchange: exchange.send(Answer(204)))

    def refuse(self) -> None:
        self.answer(Answer.json(422, {"error": "no such service"}))

    def go_down(self) -> None:
        self._listener.go_down()

    def take_silently(self) -> None:
        self.take_then(lambda exchange: exchange.drop())

    def hang(self) -> None:
        self.take_then(lambda exchange: exchange.wait(60))
        self.clock.answer_s = TIMEOUT_S - MOMENT_S

    def trickle(self) -> None:
        self.take_then(lambda exchange: exchange.trickle_head(Answer(204), 60))
        self.clock.answer_s, self.clock.look_s = TIMEOUT_S - MOMENT_S, MOMENT_S / 10

    def page(self) -> None:
        self.answer(Answer.page(503))

    def has(self, errand: Errand) -> bool:
        body = self.taken.get(errand.delivery.id, b"{}")
        return bool(json.loads(body) == json.loads(render(errand.delivery, errand.credentials)))

    def answer(self, answer: Answer) -> None:
        """Takes nothing and answers so."""
        self._behave = lambda exchange: exchange.send(answer)

    def take_then(self, end: Callable[[Exchange], None]) -> None:
        """Takes what is authentic, then ends the exchange so."""

        def behave(exchange: Exchange) -> None:
            verify(SECRETS[:1], exchange.headers, exchange.body, round(time.time()))
            assert exchange.headers["content-type"] == "application/json"
            self.taken[exchange.headers[ID]] = exchange.body
            end(exchange)

        self._behave: Callable[[Exchange], None] = behave
        self.clock.answer_s = self.clock.look_s = 0.0

    def close(self) -> None:
        self.billing.close()
        self._listener.close()

    def _serve(self, exchange: Exchange) -> None:
        self._behave(exchange)


class TestStandardBilling(BillingConformance):
    @pytest.fixture
    def bench(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandardBench]:
        with closing(StandardBench(on_a_clock(monkeypatch))) as bench:
            yield bench

    @pytest.mark.parametrize("status", [200, 201, 299])
    def test_any_2xx_accepts(self, bench: StandardBench, errand: Any, status: int) -> None:
        bench.answer(Answer(status))
        bench.billing.deliver(errand())

    @pytest.mark.parametrize("status", [301, 307, 400, 401, 404, 410, 501])
    def test_any_other_refuses(self, bench: StandardBench, errand: Any, status: int) -> None:
        bench.answer(Answer(status, headers={"Location": "/elsewhere"}))
        with pytest.raises(BillingRefused, match=rf"answered {status}; any 2xx would accept it"):
            bench.billing.deliver(errand())
        assert bench.taken == {}

    @pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
    @pytest.mark.parametrize(("header", "seconds"), [("7", 7.0), ("99999", 3600.0), ("soon", None)])
    def test_busy_shop_names_its_time(
        self, bench: StandardBench, errand: Any, status: int, header: str, seconds: float | None
    ) -> None:
        bench.answer(Answer(status, headers={"Retry-After": header}))
        with pytest.raises(BillingUnavailable) as raised:
            bench.billing.deliver(errand())
        assert raised.value.retry_after_s == seconds

    def test_taken_is_taken_whatever_follows(self, bench: StandardBench, errand: Any) -> None:
        """The status is what counts: the body may break off."""
        bench.take_then(lambda exchange: exchange.truncate(Answer(200, b'{"ok": true}')))
        bench.billing.deliver(errand())

    def test_error_names_the_place(self, bench: StandardBench, errand: Any) -> None:
        assert bench.place in failed(bench, "go_down", errand()).detail

    def test_check_looks_at_the_certificate(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Else it would say that a callback can be reached to which nothing is ever delivered."""
        certificate = self_signed(tmp_path)
        with shut_behind(certificate) as place, closing(billing_at(place)) as billing:
            with pytest.raises(BillingUnavailable) as raised:
                billing.check()
            assert "CERTIFICATE_VERIFY_FAILED" in raised.value.detail
            monkeypatch.setattr("certifi.where", lambda: str(certificate))
            assert billing.check() == f"{place} can be reached"


@pytest.mark.parametrize(
    ("host", "asked"), [("straße.example", ["xn--strae-oqa.example"]), ("ß-.example", [])]
)
def test_check_asks_for_the_name_that_deliveries_ask_for(
    monkeypatch: pytest.MonkeyPatch, host: str, asked: list[str]
) -> None:
    seen: list[str] = []

    def connect(address: tuple[str, int], _timeout_s: float) -> None:
        seen.append(address[0])
        raise ConnectionRefusedError

    monkeypatch.setattr("socket.create_connection", connect)
    with closing(billing_at(f"https://{host}")) as billing, pytest.raises(BillingUnavailable):
        billing.check()
    assert seen == asked


def billing_at(place: str) -> StandardBilling:
    return StandardBilling(f"{place}?{QUERY}", SECRETS, now_ms)


@contextmanager
def shut_behind(certificate: Path) -> Iterator[str]:
    """The address of a server that shows this certificate to whoever comes, and answers nothing."""

    def welcome() -> None:
        for _ in range(2):
            with suppress(OSError), server.accept()[0] as caller:
                context.wrap_socket(caller, server_side=True).close()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=welcome, daemon=True).start()
        yield f"https://127.0.0.1:{server.getsockname()[1]}/provisioning"
