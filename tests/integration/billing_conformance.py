"""What every adapter of the billing port must do, whatever the platform.

An adapter's test file subclasses `BillingConformance` and gives it the fixture `bench`: the adapter, and a
stub of its billing system that can be made to misbehave. The platform's own calls, fields and words are for
that test file.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

import pytest

from provisioner.billing import Billing, Errand, Marks
from provisioner.delivery import Delivery, DeliveryState
from provisioner.engine.deliver import OperationMarks
from provisioner.errors import BillingError, BillingOutcomeUnknown, BillingRefused, BillingUnavailable
from provisioner.store.sqlite import SqliteStore

NOW = 1_795_000_000_000
SERVICES = [str(number) for number in range(1001, 1009)]  # what the stub must know, all of one client
CREDENTIALS = {"username": "root", "password": "canary-password"}
IPS = ["192.0.2.10", "192.0.2.11"]


class BillingBench(Protocol):
    """An adapter and its stub. How the stub behaves holds until the next of these calls; at first it accepts.

    `secrets` is everything that the adapter must tell nobody, in every spelling. The adapter waits for an
    answer as long as it does in service; after `hang` and `trickle` the line's clock leaves it a moment.
    """

    billing: Billing
    secrets: Sequence[str]

    def accept(self) -> None:
        """Does what it is told and says so."""

    def refuse(self) -> None:
        """Does nothing and says a clear no that no repetition would change."""

    def go_down(self) -> None:
        """Nothing listens any more; `accept` listens again, at the same place."""

    def take_silently(self) -> None:
        """Does what it is told, then closes the connection without a word."""

    def hang(self) -> None:
        """Does what it is told, and lets the adapter wait for a minute."""

    def trickle(self) -> None:
        """Does what it is told, and answers byte by byte, for a minute."""

    def page(self) -> None:
        """Does nothing: what stands before it is in maintenance and answers 503 with a page of its own."""

    def has(self, errand: Errand) -> bool:
        """Whether it knows all that this delivery tells."""


# What the engine hands over, by its type (contract, section 4).
CONFIG = {"cpu_cores": 2, "mem": 2048, "disk": "20G", "ip_count": 2}
ERROR = {"code": "0xb0", "message": "The order is beyond the limits."}
WITH_CREDENTIALS = {"service.provisioned", "service.credentials"}
DELIVERIES: dict[str, dict[str, Any]] = {
    "service.provisioned": {
        "status": "active", "vmid": 4001, "ips": IPS, "hostname": "web1.example.com", "warnings": [],
    },
    "service.upgraded": {"status": "active", "config": CONFIG, "ips": IPS, "warnings": ["new_ips_unknown"]},
    "service.suspended": {"status": "suspended", "reason": "overdue"},
    "service.unsuspended": {"status": "active", "reason": ""},
    "service.terminated": {"status": "terminated", "reason": ""},
    "service.credentials": {"status": "active", "vmid": 4001, "ips": IPS},
    "service.backups": {"status": "active", "backups": [1_795_000_000]},
    "service.restored": {"status": "active", "backup": 1_795_000_000},
    "service.action": {"status": "active", "action": "reboot"},
    "operation.failed": {"status": "failed", "kind": "create", "error": ERROR, "retryable": True},
    "operation.held": {"status": "pending", "kind": "create", "error": ERROR},
}  # fmt: skip

# Characters that forms, JSON, HTML and shells have a meaning for: a password is told as it is.
PASSWORDS = ["p&amp;<b>\"'", "100%+20 =&;#?/", "\\x\\n\\\\", "pässwörd €", "{$name} `id` $(id)", " spaces "]

TROUBLES: dict[str, type[BillingError]] = {
    "refuse": BillingRefused,
    "go_down": BillingUnavailable,
    "take_silently": BillingOutcomeUnknown,
    "hang": BillingOutcomeUnknown,
    "trickle": BillingOutcomeUnknown,
    "page": BillingUnavailable,
}


def a_delivery(type_: str, service_id: str = "1001") -> Delivery:
    operation = f"op_{service_id}"
    told = {"service_id": service_id, "operation": operation, **DELIVERIES[type_]}
    return Delivery(
        id=f"msg_{service_id}_{type_}", seq=1, billing="shop", service_id=service_id, operation=operation,
        concludes=True, type=type_, data=told, with_credentials=type_ in WITH_CREDENTIALS,
        credentials_version="", sealed="", state=DeliveryState.WAITING, attempts=1, claims=1, next_run_at=NOW,
        failing_since=None, last_error="", hooks_due=False, created_at=NOW, updated_at=NOW,
    )  # fmt: skip


def failed(bench: BillingBench, trouble: str, errand: Errand) -> BillingError:
    """The error of a delivery in trouble."""
    getattr(bench, trouble)()
    with pytest.raises(BillingError) as raised:
        bench.billing.deliver(errand)
    return raised.value


def assert_tells_no_secret(error: BaseException, secrets: Sequence[str]) -> None:
    """Neither for customers nor for operators, nor in the trace that a log may get."""
    words = "".join(traceback.format_exception(error)) + f"{error!r}"
    words += f"{getattr(error, 'public', '')}{getattr(error, 'detail', '')}"
    assert [secret for secret in secrets if secret in words] == []


class BillingConformance:
    """The suite. Its subclass is one adapter's test."""

    @pytest.fixture
    def bench(self) -> Iterator[BillingBench]:
        raise NotImplementedError

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[SqliteStore]:
        with closing(SqliteStore(tmp_path / "provisioner.db")) as store:
            yield store

    @pytest.fixture
    def errand(self, store: SqliteStore) -> Any:
        """Makes an errand; the marks are those of the store that the service has."""

        def make(
            type_: str = "service.provisioned",
            service_id: str = "1001",
            credentials: Mapping[str, str] = CREDENTIALS,
            *,
            is_latest: bool = True,
        ) -> Errand:
            delivery = a_delivery(type_, service_id)
            marks: Marks = OperationMarks(store, lambda: NOW, delivery.operation)
            return Errand(
                delivery, credentials if delivery.with_credentials else {}, lambda: is_latest, marks
            )

        return make

    # What is told

    @pytest.mark.parametrize("type_", DELIVERIES)
    def test_every_delivery_arrives(self, bench: BillingBench, errand: Any, type_: str) -> None:
        told = errand(type_)
        bench.billing.deliver(told)
        assert bench.has(told)

    @pytest.mark.parametrize("password", PASSWORDS)
    def test_password_arrives_as_it_is(self, bench: BillingBench, errand: Any, password: str) -> None:
        told = errand("service.credentials", credentials={"username": "root", "password": password})
        bench.billing.deliver(told)
        assert bench.has(told)

    @pytest.mark.parametrize("type_", DELIVERIES)
    def test_same_delivery_may_come_again(self, bench: BillingBench, errand: Any, type_: str) -> None:
        told = errand(type_)
        bench.billing.deliver(told)
        bench.billing.deliver(told)
        assert bench.has(told)

    @pytest.mark.parametrize("type_", DELIVERIES)
    def test_what_is_not_the_latest_is_taken_too(self, bench: BillingBench, errand: Any, type_: str) -> None:
        told = errand(type_, is_latest=False)
        bench.billing.deliver(told)
        assert bench.has(told)

    def test_many_are_told_at_once(self, bench: BillingBench, errand: Any) -> None:
        told = [errand("service.provisioned", service_id) for service_id in SERVICES]
        with ThreadPoolExecutor(len(told)) as pool:
            list(pool.map(bench.billing.deliver, told))
        assert all(map(bench.has, told))

    # Trouble

    @pytest.mark.parametrize("trouble", TROUBLES)
    def test_trouble_has_its_class(self, bench: BillingBench, errand: Any, trouble: str) -> None:
        assert type(failed(bench, trouble, errand())) is TROUBLES[trouble]

    @pytest.mark.parametrize("trouble", ["refuse", "go_down", "page"])
    def test_trouble_is_no_success(self, bench: BillingBench, errand: Any, trouble: str) -> None:
        told = errand()
        failed(bench, trouble, told)
        assert not bench.has(told)

    @pytest.mark.parametrize("trouble", TROUBLES)
    def test_nothing_is_lost_by_it(self, bench: BillingBench, errand: Any, trouble: str) -> None:
        told = errand()
        failed(bench, trouble, told)
        bench.accept()
        bench.billing.deliver(told)
        assert bench.has(told)

    @pytest.mark.parametrize("type_", DELIVERIES)
    def test_each_delivery_outlives_troubles(self, bench: BillingBench, errand: Any, type_: str) -> None:
        told = errand(type_)
        for trouble in ("page", "take_silently", "refuse", "take_silently"):
            failed(bench, trouble, told)
        bench.accept()
        bench.billing.deliver(told)
        assert bench.has(told)

    @pytest.mark.parametrize("trouble", TROUBLES)
    def test_trouble_tells_no_secret(self, bench: BillingBench, errand: Any, trouble: str) -> None:
        error = failed(bench, trouble, errand())
        assert_tells_no_secret(error, [*bench.secrets, CREDENTIALS["password"]])
        assert error.detail
        assert "://" not in error.public  # a customer may read it: no address, ours or theirs

    @pytest.mark.parametrize("trouble", ["hang", "trickle"])
    def test_nobody_holds_up_the_thread(self, bench: BillingBench, errand: Any, trouble: str) -> None:
        begun = time.monotonic()
        failed(bench, trouble, errand())
        assert time.monotonic() - begun < 30  # of the stub's minute: the machine may be busy

    # The rest of the port

    def test_check_says_that_it_is_there(self, bench: BillingBench, errand: Any) -> None:
        words = bench.billing.check()
        assert words
        assert [secret for secret in bench.secrets if secret in words] == []
        assert not bench.has(errand())

    def test_check_says_why_it_is_not(self, bench: BillingBench) -> None:
        bench.go_down()
        with pytest.raises(BillingUnavailable) as raised:
            bench.billing.check()
        assert_tells_no_secret(raised.value, bench.secrets)

    @pytest.mark.parametrize("trouble", TROUBLES)
    def test_check_raises_nothing_else(self, bench: BillingBench, trouble: str) -> None:
        getattr(bench, trouble)()
        try:
            bench.billing.check()
        except BillingError as error:
            assert_tells_no_secret(error, bench.secrets)

    @pytest.mark.parametrize("trouble", TROUBLES)
    def test_asking_for_statuses_raises_nothing_else(self, bench: BillingBench, trouble: str) -> None:
        getattr(bench, trouble)()
        try:
            assert set(bench.billing.statuses(["1001"])) <= {"1001"}
        except BillingError as error:
            assert_tells_no_secret(error, bench.secrets)

    def test_closing_twice_is_closing_once(self, bench: BillingBench, errand: Any) -> None:
        bench.billing.deliver(errand())
        bench.billing.close()
        bench.billing.close()
