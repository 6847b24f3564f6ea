"""Platform `whmcs`, pushed: everything of the suite that holds for every platform."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from provisioner.billing import Errand
from provisioner.billing.whmcs import WhmcsBilling, Wishes
from provisioner.billing.whmcs_api import CALL_S, WhmcsApi
from tests.integration.billing_conformance import NOW, SERVICES, BillingBench, BillingConformance
from tests.integration.line_clock import LineClock, on_a_clock
from tests.integration.whmcs_stub import ACCESS_KEY, IDENTIFIER, SECRET, TEMPLATE, WhmcsStub

EVER = 1_000_000
MOMENT_S = 0.3  # left to wait for an answer that does not come


class WhmcsBench:
    """A WHMCS that has the suite's services."""

    def __init__(self, clock: LineClock) -> None:
        self.clock = clock
        self.stub = WhmcsStub()
        self.stub.access_key = ACCESS_KEY
        for service_id in SERVICES:
            self.stub.add(service_id)
        api = WhmcsApi(self.stub.api_url, IDENTIFIER, SECRET, ACCESS_KEY, lambda: NOW)
        self.billing = WhmcsBilling(api, Wishes(TEMPLATE, "notify", 0))
        self.secrets = [
            IDENTIFIER,
            SECRET,
            ACCESS_KEY,
            SECRET.replace("&", "&amp;"),
            SECRET.replace("&", "%26"),
        ]

    def accept(self) -> None:
        self.stub.mend()
        self.clock.answer_s = self.clock.look_s = 0.0

    def refuse(self) -> None:
        self.stub.refuse("*", f"Invalid IP 203.0.113.7 with {SECRET}", times=EVER)

    def go_down(self) -> None:
        self.stub.listener.go_down()

    def take_silently(self) -> None:
        self.stub.fault("*", "drop", times=EVER)

    def hang(self) -> None:
        self.stub.fault("*", "hang", times=EVER, seconds=60)
        self.clock.answer_s = CALL_S - MOMENT_S

    def trickle(self) -> None:
        self.stub.fault("*", "slow", times=EVER, seconds=60)
        self.clock.answer_s, self.clock.look_s = CALL_S - MOMENT_S, MOMENT_S / 10

    def page(self) -> None:
        self.stub.fault("*", "page", times=EVER)

    def has(self, errand: Errand) -> bool:
        """The fields, and what the fields do not say: the line in the activity log."""
        service, data = self.stub.services[errand.delivery.service_id], errand.delivery.data
        told = dict(errand.credentials)
        if data.get("ips"):
            told |= {"dedicatedip": data["ips"][0], "assignedips": "\n".join(data["ips"][1:])}
        if data.get("hostname"):
            told["domain"] = data["hostname"]
        logged = any(f"operation {errand.delivery.operation}:" in line for line in self.stub.log)
        return logged and all(service[column] == value for column, value in told.items())

    def close(self) -> None:
        self.billing.close()
        self.stub.close()


class TestWhmcsBilling(BillingConformance):
    @pytest.fixture
    def bench(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[WhmcsBench]:
        with closing(WhmcsBench(on_a_clock(monkeypatch))) as bench:
            yield bench


def _conforms(bench: WhmcsBench) -> BillingBench:
    return bench
