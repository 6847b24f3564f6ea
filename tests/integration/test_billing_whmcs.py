"""Deliveries into WHMCS, row by row of docs/whmcs.md, over a real socket to a stand-in for its API."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.billing import Errand, whmcs
from provisioner.billing.whmcs import WhmcsBilling, Wishes
from provisioner.billing.whmcs_api import CALL_S, WhmcsApi
from provisioner.delivery import Delivery, DeliveryState
from provisioner.errors import BillingError, BillingOutcomeUnknown, BillingRefused, BillingUnavailable
from provisioner.operation import State
from provisioner.sandbox.wire import Answer
from tests.conftest import STARTS_AT, World
from tests.heard import capture_logs
from tests.integration.line_clock import on_a_clock
from tests.integration.whmcs_stub import (
    ACCESS_KEY,
    IDENTIFIER,
    SECRET,
    TEMPLATE,
    WhmcsStub,
    html_encoded,
    whmcs_stub,
)

VECTORS = json.loads((Path(__file__).parents[1] / "whmcs_writes.json").read_text())
PASSWORD = "canary-p4ss&word"
RESEND = "Resend Welcome Email"


class Killed(BaseException):
    """The process died here."""


class Marks(dict[str, str]):
    """Marks that outlive the adapter; it can be killed before or after the n-th one is made."""

    def __init__(self) -> None:
        super().__init__()
        self.puts = 0
        self.dies: tuple[int, str] = (0, "")

    def get(self, name: str) -> str:  # type: ignore[override]
        return super().get(name, "")

    def put(self, name: str, value: str) -> None:
        self.puts += 1
        if self.dies == (self.puts, "before"):
            raise Killed
        if value:
            self[name] = value
        else:
            self.pop(name, None)
        if self.dies == (self.puts, "after"):
            raise Killed


def delivery(kind: str, data: dict[str, Any], name: str = "msg_1") -> Delivery:
    return Delivery(
        id=name, seq=1, billing="whmcs", service_id=str(data["service_id"]), operation="op_1", concludes=True,
        type=kind, data=data, with_credentials="password" in data, credentials_version="", sealed="",
        state=DeliveryState.WAITING, attempts=1, claims=1, next_run_at=0, failing_since=None, last_error="",
        hooks_due=False, created_at=STARTS_AT, updated_at=STARTS_AT,
    )  # fmt: skip


def errand(
    kind: str, marks: Marks | None = None, /, *, latest: bool = True, name: str = "msg_1", **data: Any
) -> Errand:
    data = {"service_id": "1001", "operation": "op_1", "status": "active", **data}
    password = data.pop("password", None)
    credentials = {"username": "root", "password": password} if password else {}
    return Errand(
        delivery(kind, data, name), credentials, lambda: latest, Marks() if marks is None else marks
    )


def provisioned(marks: Marks | None = None, **over: Any) -> Errand:
    data: dict[str, Any] = {
        "vmid": 4001, "ips": ["192.0.2.10"], "username": "root", "password": PASSWORD,
        "hostname": "web1.example.com", "warnings": [],
    }  # fmt: skip
    return errand("service.provisioned", marks, **{**data, **over})


def failed(marks: Marks | None = None, name: str = "msg_1", **over: Any) -> Errand:
    data = {"kind": "reboot", "error": {"code": "expired", "message": "Too late."}, "retryable": True, **over}
    return errand("operation.failed", marks, name=name, **data)


@pytest.fixture
def stub() -> Iterator[WhmcsStub]:
    with whmcs_stub() as stub:
        stub.add()
        yield stub


@pytest.fixture
def adapters(stub: WhmcsStub) -> Iterator[Callable[..., WhmcsBilling]]:
    made: list[WhmcsBilling] = []

    def make(
        welcome_email: str = TEMPLATE, on_failure: str = "notify", ticket_department: int = 3, **api: Any
    ) -> WhmcsBilling:
        login = {"url": stub.api_url, "identifier": IDENTIFIER, "secret": SECRET, "access_key": ""}
        over = {"clock": lambda: STARTS_AT, **login, **api}
        made.append(WhmcsBilling(WhmcsApi(**over), Wishes(welcome_email, on_failure, ticket_department)))
        return made[-1]

    yield make
    for adapter in made:
        adapter.close()


@pytest.fixture
def adapter(adapters: Callable[..., WhmcsBilling]) -> WhmcsBilling:
    return adapters()


# Every row


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"].replace(" ", "-"))
def test_each_row_writes_what_the_table_says(
    stub: WhmcsStub, adapters: Callable[..., WhmcsBilling], vector: dict[str, Any]
) -> None:
    stub.add("1001", **{name: value for name, value in vector["before"].items() if name != "id"})
    data = dict(vector["delivery"]["data"])
    adapters(**vector["settings"]).deliver(
        errand(vector["delivery"]["type"], latest=vector["latest"], **data)
    )
    assert [[action, masked(params, wanted)] for (action, params), (_, wanted) in zip(
        stub.writes, vector["calls"], strict=True
    )] == vector["calls"]  # fmt: skip


def masked(params: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """`*` for any text where any will do."""
    return {name: "*" if wanted.get(name) == "*" and value else value for name, value in params.items()}


def test_vectors_cover_every_type_of_delivery() -> None:
    told = {vector["delivery"]["type"] for vector in VECTORS}
    assert told == {*whmcs_rows(), "operation.failed"}


def whmcs_rows() -> set[str]:
    from provisioner.billing.whmcs_rows import ROWS

    return set(ROWS)


def test_a_service_is_read_before_and_after_it_is_written(stub: WhmcsStub, adapter: WhmcsBilling) -> None:
    adapter.deliver(provisioned())
    assert [action for action, _ in stub.calls] == [
        "GetClientsProducts", "UpdateClientProduct", "GetClientsProducts", "SendEmail", "LogActivity",
    ]  # fmt: skip
    assert stub.services["1001"] == {
        "id": "1001", "userid": "7", "domain": "web1.example.com", "username": "root", "password": PASSWORD,
        "dedicatedip": "192.0.2.10", "assignedips": "", "suspendreason": "", "domainstatus": "Active",
    }  # fmt: skip


def test_mail_goes_out_with_the_credentials_in_place(stub: WhmcsStub, adapter: WhmcsBilling) -> None:
    adapter.deliver(provisioned())
    (mail,) = stub.mails
    assert (mail["messagename"], mail["id"], mail["password"]) == (TEMPLATE, "1001", PASSWORD)


def test_line_of_a_termination_names_its_ips_also_at_a_second_try(
    stub: WhmcsStub, adapter: WhmcsBilling
) -> None:
    stub.add("1001", dedicatedip="192.0.2.10", assignedips="192.0.2.11\r\n192.0.2.12")
    stub.refuse("LogActivity", "Not today")
    gone, marks = {"status": "terminated", "reason": ""}, Marks()
    with pytest.raises(BillingRefused):
        adapter.deliver(errand("service.terminated", marks, **gone))
    assert stub.services["1001"]["dedicatedip"] == ""
    adapter.deliver(errand("service.terminated", marks, **gone))
    assert "192.0.2.10, 192.0.2.11, 192.0.2.12" in stub.log[-1]


def test_line_of_an_upgrade_says_each_warning_in_words(stub: WhmcsStub, adapter: WhmcsBilling) -> None:
    config = {"cpu_cores": 2, "mem": 2048, "disk": "20G", "ip_count": 2}
    adapter.deliver(
        errand("service.upgraded", config=config, ips=[], warnings=["disk_kept", "new_ips_unknown", "newer"])
    )
    (line,) = stub.log
    for words in ("2 cores, 2048 MB, disk 20G", "a smaller disk was asked for", "by hand", "newer", "op_1"):
        assert words in line


def test_backup_beyond_the_calendar_is_told_by_its_number(stub: WhmcsStub, adapter: WhmcsBilling) -> None:
    adapter.deliver(errand("service.restored", backup=1_795_000_000_000))
    assert "restored from the backup of 1795000000000" in stub.log[-1]


@pytest.mark.parametrize("on_failure", ["notify", "ticket"])
def test_staff_read_what_failed_and_what_to_do(
    stub: WhmcsStub, adapters: Callable[..., WhmcsBilling], on_failure: str
) -> None:
    adapters(on_failure=on_failure).deliver(failed())
    told = stub.notifications + stub.of("OpenTicket")
    text = json.dumps(told)
    for words in ("1001", "reboot failed", "expired", "Too late.", "op_1", "retry"):
        assert words in text


# Which service


def test_service_that_whmcs_does_not_have_is_refused_in_words(stub: WhmcsStub, adapter: WhmcsBilling) -> None:
    stub.services.clear()
    with pytest.raises(BillingRefused, match="service 1001 is not in WHMCS, or not any more"):
        adapter.deliver(provisioned())
    assert stub.writes == []


@pytest.mark.parametrize("service_id", ["12x", "1e3", " 12", "12.0", "-1", "٣", "shop-12", "99999999999"])
def test_what_php_would_read_as_another_service_is_not_sent(
    stub: WhmcsStub, adapter: WhmcsBilling, service_id: str
) -> None:
    with pytest.raises(BillingRefused, match="cannot be one of WHMCS"):
        adapter.deliver(provisioned(service_id=service_id))
    assert stub.calls == []


def test_another_service_in_the_answer_is_not_taken(stub: WhmcsStub, adapter: WhmcsBilling) -> None:
    other = {"id": "2002", "clientid": "9", "status": "Active"}
    stub.shape = lambda found: {"product": [other]}
    with pytest.raises(BillingRefused, match="not in WHMCS"):
        adapter.deliver(provisioned())


@pytest.mark.parametrize(
    "shape",
    [
        lambda found: {"product": found},
        lambda found: {"product": found[0]},
        lambda found: {"product": {"0": found[0]}},
        lambda found: found,
        lambda found: found[0],
        lambda found: {"product": [{"id": "1"}, "", *found]},
        lambda found: {"product": [{**found[0], "id": 1001}]},
    ],
)
def test_lists_are_read_however_they_are_spelled(
    stub: WhmcsStub, adapter: WhmcsBilling, shape: Callable[[list[dict[str, Any]]], Any]
) -> None:
    stub.shape = shape
    adapter.deliver(provisioned())
    assert len(stub.mails) == 1


@pytest.mark.parametrize("empty", ["", None, [], {}, {"product": []}, {"product": ""}, "product", 0])
def test_empty_lists_hold_no_service(stub: WhmcsStub, adapter: WhmcsBilling, empty: object) -> None:
    stub.shape = lambda found: empty
    with pytest.raises(BillingRefused, match="not in WHMCS"):
        adapter.deliver(provisioned())


# Read back


@pytest.mark.parametrize("column", ["username", "password", "dedicatedip", "domain", "domainstatus"])
def test_field_that_was_not_kept_is_said_by_name(stub: WhmcsStub, adapter: WhmcsBilling, column: str) -> None:
    stub.keep = lambda name, value: "other" if name == column else value
    marks = Marks()
    with pytest.raises(BillingRefused, match=r"does not show .* as written") as caught:
        adapter.deliver(provisioned(marks))
    assert PASSWORD not in caught.value.detail
    assert (stub.mails, marks) == ([], {})  # no mail with a password that is not there
    stub.keep = lambda name, value: value
    adapter.deliver(provisioned(marks))
    assert len(stub.mails) == 1


@pytest.mark.parametrize("kept", ["192.0.2.11\r\n192.0.2.12", "192.0.2.11\n192.0.2.12\n"])
def test_further_ips_are_compared_one_by_one(stub: WhmcsStub, adapter: WhmcsBilling, kept: str) -> None:
    stub.keep = lambda name, value: kept if name == "assignedips" else value
    adapter.deliver(provisioned(ips=["192.0.2.10", "192.0.2.11", "192.0.2.12"]))
    stub.keep = lambda name, value: "192.0.2.11" if name == "assignedips" else value
    with pytest.raises(BillingRefused, match="does not show assignedips"):
        adapter.deliver(provisioned(ips=["192.0.2.10", "192.0.2.11", "192.0.2.12"]))


def test_field_that_was_not_emptied_is_said(stub: WhmcsStub, adapter: WhmcsBilling) -> None:
    stub.add("1001", dedicatedip="192.0.2.10")
    stub.show = lambda product: product.update(dedicatedip="192.0.2.10")
    with pytest.raises(BillingRefused, match="does not show dedicatedip"):
        adapter.deliver(errand("service.terminated", status="terminated", reason=""))


@pytest.mark.parametrize("mask", ["xxxxxxxx", "x", "********", "**"])
def test_masked_password_is_passed_over(stub: WhmcsStub, adapter: WhmcsBilling, mask: str) -> None:
    stub.show = lambda product: product.update(password=mask)
    adapter.deliver(provisioned())
    assert len(stub.mails) == 1


def test_masked_anything_else_is_not(stub: WhmcsStub, adapter: WhmcsBilling) -> None:
    stub.show = lambda product: product.update(username="xxxx")
    with pytest.raises(BillingRefused, match="serviceusername"):
        adapter.deliver(provisioned())


@given(
    password=st.text(st.characters(exclude_categories=("C", "Z"), include_characters=" ")).filter(bool),
    encodes=st.booleans(),
)
def test_any_printable_password_survives_the_way(
    roundtrip: tuple[WhmcsStub, WhmcsBilling], password: str, encodes: bool
) -> None:
    stub, adapter = roundtrip
    stub.add()
    stub.show = html_encoded if encodes else lambda product: None
    adapter.deliver(provisioned(password=password))
    assert stub.services["1001"]["password"] == password


@pytest.fixture(scope="module")
def roundtrip() -> Iterator[tuple[WhmcsStub, WhmcsBilling]]:
    with whmcs_stub() as stub:
        api = WhmcsApi(stub.api_url, IDENTIFIER, SECRET, "", lambda: STARTS_AT)
        adapter = WhmcsBilling(api, Wishes("", "nothing", 0))
        yield stub, adapter
        adapter.close()


@pytest.mark.parametrize(
    "password", ["a&b<c>\"d'", "100%2B+ü x", "&amp;&lt;", " lead and trail ", "=&=&action=x"]
)
def test_odd_passwords_survive_the_way(stub: WhmcsStub, adapter: WhmcsBilling, password: str) -> None:
    for show in (html_encoded, lambda product: None):
        stub.show = show
        adapter.deliver(provisioned(password=password))
        assert stub.services["1001"]["password"] == password


# Once


def lives(adapter: WhmcsBilling, errand: Errand, tries: int = 6) -> list[BaseException]:
    """Tries until it is delivered, as the engine does; a killed process starts anew."""
    troubles: list[BaseException] = []
    for _ in range(tries):
        try:
            adapter.deliver(errand)
        except (BillingError, Killed) as error:
            troubles.append(error)
        else:
            return troubles
    raise AssertionError(troubles)


# A delivery with a mail makes two marks: begun and done.
@pytest.mark.parametrize(
    ("dies", "mails", "warned"),
    [
        ((1, "before"), 1, False),
        ((1, "after"), 0, True),
        ((2, "before"), 1, True),
        ((2, "after"), 1, False),
    ],
)
def test_a_kill_sends_no_second_mail(
    stub: WhmcsStub, adapter: WhmcsBilling, dies: tuple[int, str], mails: int, warned: bool
) -> None:
    marks = Marks()
    marks.dies = dies
    troubles = lives(adapter, provisioned(marks))
    assert [type(trouble) for trouble in troubles] == [Killed]
    assert len(stub.mails) == mails
    assert (RESEND in stub.log[-1]) == warned
    assert [one["notification_identifier"] for one in stub.notifications] == ["provisioner.mail"] * warned
    assert stub.services["1001"]["password"] == PASSWORD


# A failure makes two marks when it notifies, and three with a ticket: begun, the ticket's number, done.
@pytest.mark.parametrize(
    ("on_failure", "dies", "told"),
    [
        ("notify", (1, "before"), 1),
        ("notify", (1, "after"), 0),
        ("notify", (2, "before"), 1),
        ("notify", (2, "after"), 1),
        ("ticket", (1, "before"), 1),
        ("ticket", (1, "after"), 0),
        ("ticket", (2, "before"), 1),
        ("ticket", (2, "after"), 1),
        ("ticket", (3, "before"), 1),
        ("ticket", (3, "after"), 1),
    ],
)
def test_a_kill_tells_staff_no_second_time(
    stub: WhmcsStub, adapters: Callable[..., WhmcsBilling], on_failure: str, dies: tuple[int, str], told: int
) -> None:
    marks = Marks()
    marks.dies = dies
    assert [type(trouble) for trouble in lives(adapters(on_failure=on_failure), failed(marks))] == [Killed]
    notes = [note for ticket in stub.tickets.values() for note in ticket]
    assert len(stub.notifications) + len(notes) == told
    assert ("may not have gone out" in stub.log[-1]) == (
        dies not in [(1, "before"), (2 + (on_failure == "ticket"), "after")]
    )


@pytest.mark.parametrize("kind", ["drop", "after", "slow"])
def test_mail_whose_answer_was_lost_is_not_sent_again(
    stub: WhmcsStub, adapters: Callable[..., WhmcsBilling], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """A connection that broke, a gateway that gave up, no answer in time."""
    clock, send = on_a_clock(monkeypatch), stub._SendEmail

    def send_and_take_long(**given: Any) -> Any:
        clock.now_s += CALL_S if kind == "slow" else 0.0
        return send(**given)

    monkeypatch.setattr(stub, "_SendEmail", send_and_take_long)
    stub.fault("SendEmail", kind, Answer.page(504), seconds=3.0 * (kind == "slow"))
    marks = Marks()
    troubles = lives(adapters(), provisioned(marks))
    assert [type(trouble) for trouble in troubles] == [BillingOutcomeUnknown]
    assert len(stub.mails) == 1
    assert RESEND in stub.log[-1]
    (told,) = stub.notifications
    assert told["notification_identifier"] == "provisioner.mail"
    assert RESEND in told["message"]


def test_mail_that_may_be_missing_is_a_ticket_where_staff_want_tickets(
    stub: WhmcsStub, adapters: Callable[..., WhmcsBilling]
) -> None:
    stub.fault("SendEmail", "drop")
    adapter, marks = adapters(on_failure="ticket"), Marks()
    lives(adapter, provisioned(marks))
    (ticket,) = stub.tickets.values()
    assert RESEND in ticket[0]
    adapter.deliver(provisioned(marks))  # an acknowledgement of ours that was lost
    assert (len(stub.tickets), len(ticket), len(stub.mails)) == (1, 1, 1)


@pytest.mark.parametrize(
    "answer",
    [
        Answer.json(200, {"result": "error", "message": "Sending Failed. Please see documentation."}),
        Answer.page(503),
        Answer.page(200),
        Answer.page(500),
        Answer.json(429, {"message": "slow down"}),
    ],
)
def test_clear_no_takes_the_mark_back(stub: WhmcsStub, adapter: WhmcsBilling, answer: Answer) -> None:
    stub.fault("SendEmail", "answer", answer, times=3)
    marks = Marks()
    for _ in range(3):
        with pytest.raises((BillingRefused, BillingUnavailable)):
            adapter.deliver(provisioned(marks))
        assert marks == {}
    adapter.deliver(provisioned(marks))
    assert len(stub.mails) == 1
    assert stub.notifications == []
    assert "mail was sent" in stub.log[-1]


def test_later_trouble_sends_no_second_mail(stub: WhmcsStub, adapter: WhmcsBilling) -> None:
    stub.refuse("LogActivity", "Not today", times=3)
    assert len(lives(adapter, provisioned(Marks()))) == 3
    assert len(stub.mails) == 1


def test_each_credentials_have_a_mail_of_their_own(stub: WhmcsStub, adapter: WhmcsBilling) -> None:
    marks = Marks()
    adapter.deliver(provisioned(marks))
    new = {"vmid": 4001, "ips": [], "username": "root", "password": "another"}
    adapter.deliver(errand("service.credentials", marks, name="msg_2", **new))
    assert [mail["password"] for mail in stub.mails] == [PASSWORD, "another"]


def test_further_failure_of_an_operation_is_a_note_on_its_ticket(
    stub: WhmcsStub, adapters: Callable[..., WhmcsBilling]
) -> None:
    adapter, marks = adapters(on_failure="ticket"), Marks()
    for name in ("msg_1", "msg_1", "msg_2"):
        adapter.deliver(failed(marks, name))
    adapter.deliver(failed(Marks(), "msg_3"))
    assert [len(ticket) for ticket in stub.tickets.values()] == [2, 1]


def test_deleted_ticket_is_opened_anew(stub: WhmcsStub, adapters: Callable[..., WhmcsBilling]) -> None:
    adapter, marks = adapters(on_failure="ticket"), Marks()
    adapter.deliver(failed(marks, "msg_1"))
    stub.tickets.clear()
    adapter.deliver(failed(marks, "msg_2"))
    assert len(stub.of("OpenTicket")) == 2


def test_refused_note_is_tried_again_and_opens_nothing(
    stub: WhmcsStub, adapters: Callable[..., WhmcsBilling]
) -> None:
    adapter, marks = adapters(on_failure="ticket"), Marks()
    adapter.deliver(failed(marks, "msg_1"))
    stub.forbidden.add("AddTicketNote")
    with pytest.raises(BillingRefused, match="allow AddTicketNote"):
        adapter.deliver(failed(marks, "msg_2"))
    stub.forbidden.clear()
    adapter.deliver(failed(marks, "msg_2"))
    assert [len(ticket) for ticket in stub.tickets.values()] == [2]


# Answers


@pytest.mark.parametrize("status", [200, 400, 403, 429, 500, 503])
def test_result_decides_and_not_the_status(stub: WhmcsStub, adapter: WhmcsBilling, status: int) -> None:
    stub.refuse("UpdateClientProduct", "Service ID Not Found", status=status)
    with pytest.raises(BillingRefused, match="Service ID Not Found"):
        adapter.deliver(provisioned())
    stub.fault("LogActivity", "after", Answer.json(status, {"result": "success"}))
    adapter.deliver(provisioned())


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_answer_may_begin_with_a_byte_order_mark(stub: WhmcsStub, adapter: WhmcsBilling, mark: str) -> None:
    stub.fault("LogActivity", "after", Answer(200, f'{mark}{{"result": "success"}}'.encode()))
    adapter.deliver(provisioned())


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (Answer.page(200), BillingUnavailable, "no JSON; is WHMCS in maintenance"),
        (Answer.page(403), BillingUnavailable, "firewall"),
        (Answer.page(404), BillingUnavailable, "is api_url that of includes/api.php"),
        (Answer.page(500), BillingUnavailable, "answered 500 with a page that is no JSON"),
        (Answer.page(503), BillingUnavailable, "answered 503"),
        (Answer.json(429, {}), BillingUnavailable, "answered 429"),
        (Answer(200, b'{"result": "succ'), BillingUnavailable, "no JSON"),
        (Answer.page(502), BillingOutcomeUnknown, "a gateway answered 502"),
        (Answer.page(504), BillingOutcomeUnknown, "a gateway answered 504"),
        (Answer(200), BillingOutcomeUnknown, "without a result"),
        (Answer.json(200, []), BillingOutcomeUnknown, "without a result"),
        (Answer.json(200, {"result": None}), BillingOutcomeUnknown, "without a result"),
        (Answer.json(200, {"result": "Success!"}), BillingOutcomeUnknown, "without a result"),
        (Answer(302, headers={"Location": "/elsewhere"}), BillingRefused, "the final address into api_url"),
        (Answer(200, b"x" * (3 << 20)), BillingOutcomeUnknown, "more than 2 MiB"),
        (Answer(200, b"[" * 100_000), BillingUnavailable, "no JSON"),
    ],
)  # fmt: skip
def test_odd_answers_are_sorted(
    stub: WhmcsStub, adapter: WhmcsBilling, answer: Answer, error: type[BillingError], words: str
) -> None:
    stub.fault("UpdateClientProduct", "answer", answer)
    with pytest.raises(error, match=words) as caught:
        adapter.deliver(provisioned())
    assert type(caught.value) is error
    assert [head["host"] for head in stub.heads] == [
        stub.api_url.split("/")[2]
    ] * 2  # no redirect is followed


@pytest.mark.parametrize("status", [429, 503, 500])
def test_retry_after_is_honoured(stub: WhmcsStub, adapter: WhmcsBilling, status: int) -> None:
    page = Answer.page(status)
    stub.fault("*", "answer", Answer(status, page.body, page.content_type, {"Retry-After": "77"}))
    with pytest.raises(BillingUnavailable) as caught:
        adapter.deliver(provisioned())
    assert caught.value.retry_after_s == 77


def test_refused_connection_is_no_outcome(stub: WhmcsStub, adapter: WhmcsBilling) -> None:
    stub.listener.go_down()
    with pytest.raises(BillingUnavailable, match="nothing was sent"):
        adapter.deliver(provisioned())


@pytest.mark.parametrize("kind", ["drop", "deaf"])
def test_broken_connection_is_unknown(stub: WhmcsStub, adapter: WhmcsBilling, kind: str) -> None:
    stub.fault("UpdateClientProduct", kind)
    with pytest.raises(BillingOutcomeUnknown, match="it may have been done"):
        adapter.deliver(provisioned())


def test_one_call_is_bounded(stub: WhmcsStub, adapter: WhmcsBilling, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where every read brings a byte."""
    on_a_clock(monkeypatch).look_s = 1.0
    stub.fault("UpdateClientProduct", "slow", seconds=5.0)
    with pytest.raises(BillingOutcomeUnknown, match="no answer within 20 s"):
        adapter.deliver(provisioned())


def test_one_delivery_is_bounded(
    stub: WhmcsStub, adapter: WhmcsBilling, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each call is in time, all of them are not; what was not begun is not marked."""
    monkeypatch.setattr(whmcs, "DELIVER_S", 0.6)
    stub.fault("GetClientsProducts", "slow", seconds=0.35, times=9)
    marks = Marks()
    with pytest.raises(BillingError):
        adapter.deliver(provisioned(marks))
    assert (stub.mails, marks) == ([], {})


def test_a_try_without_time_sends_nothing(
    stub: WhmcsStub, adapter: WhmcsBilling, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whmcs, "DELIVER_S", 0.0)
    with pytest.raises(BillingUnavailable, match="no time was left"):
        adapter.deliver(provisioned())
    assert stub.heads == []


def test_all_calls_fit_into_half_a_lease() -> None:
    from provisioner.engine.deliver import LEASE_MS

    assert 2 * whmcs.DELIVER_S * 1000 <= LEASE_MS


# Let in


LET_IN = [
    (
        {"refused_ip": "203.0.113.9"},
        {},
        "allow 203.0.113.9 under System Settings → General Settings → Security",
    ),
    ({"refused_ip": "2001:db8::9"}, {}, "allow 2001:db8::9 under"),
    ({}, {"identifier": "another"}, "identifier is none that WHMCS knows"),
    ({}, {"secret": "another"}, "secret does not belong to identifier"),
    ({"access_key": ACCESS_KEY}, {}, r"access_key must be the one of \$api_access_key"),
    (
        {"access_key": ACCESS_KEY},
        {"access_key": "another"},
        r"access_key must be the one of \$api_access_key",
    ),
]


@pytest.mark.parametrize(("switches", "login", "remedy"), LET_IN)
def test_who_is_not_let_in_reads_the_remedy(
    stub: WhmcsStub,
    adapters: Callable[..., WhmcsBilling],
    switches: dict[str, str],
    login: dict[str, str],
    remedy: str,
) -> None:
    for name, value in switches.items():
        setattr(stub, name, value)
    for ask in (lambda adapter: adapter.deliver(provisioned()), lambda adapter: adapter.check()):
        with pytest.raises(BillingRefused, match=remedy) as caught:
            ask(adapters(**login))
        assert len(caught.value.detail.splitlines()) == 1
    assert stub.calls == []


def test_access_key_stands_in_for_the_address(stub: WhmcsStub, adapters: Callable[..., WhmcsBilling]) -> None:
    stub.access_key, stub.refused_ip = ACCESS_KEY, "203.0.113.9"
    adapters(access_key=ACCESS_KEY).deliver(provisioned())
    assert len(stub.mails) == 1


@pytest.mark.parametrize(
    ("action", "message", "remedy"),
    [
        ("UpdateClientProduct", 'Invalid Permissions: API action "updateclientproduct" is not allowed',
         "allow UpdateClientProduct in the API role"),
        ("SendEmail", "Email Template not found", "welcome_email must name an enabled template"),
        ("SendEmail", "Email Template is disabled", "welcome_email must name an enabled template"),
        ("SendEmail", "Sending Failed. Please see documentation.", "WHMCS's activity log says why"),
        ("UpdateClientProduct", "Service ID Not Found", "not in WHMCS, or not any more"),
        ("GetClientsProducts", "Forbidden IP 203.0.113.9", "allow 203.0.113.9 under System Settings"),
        ("LogActivity", "Something new {0} {action}", "its activity log may say more"),
        ("LogActivity", "", "no message; WHMCS refused it"),
    ],
)  # fmt: skip
def test_refusals_name_their_remedy(
    stub: WhmcsStub, adapter: WhmcsBilling, action: str, message: str, remedy: str
) -> None:
    stub.refuse(action, message)
    with pytest.raises(BillingRefused, match=remedy) as caught:
        adapter.deliver(provisioned())
    assert caught.value.public == "The billing system did not accept a message."


# No secret


SECRETS = (SECRET, ACCESS_KEY, IDENTIFIER, PASSWORD, "S3cretOfTheApi", "canary-p4ss")


@pytest.mark.parametrize("echo", ["{}", "secret={0}", "Error in query: UPDATE … SET password='{0}'", "[{0}]"])
@pytest.mark.parametrize("kind", ["error", "page"])
def test_echoed_secrets_are_in_no_error_and_no_log(
    stub: WhmcsStub,
    adapters: Callable[..., WhmcsBilling],
    caplog: pytest.LogCaptureFixture,
    echo: str,
    kind: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    adapter = adapters(access_key=ACCESS_KEY)
    seen: list[str] = []
    with capture_logs() as logs:
        for secret in SECRETS[:4]:
            for spelled in (
                secret,
                json.dumps(secret),
                secret.replace("&", "&amp;"),
                secret.replace("&", "%26"),
            ):
                words = echo.format(spelled)
                body = json.dumps({"result": "error", "message": words}) if kind == "error" else f"<p>{words}"
                stub.fault("UpdateClientProduct", "answer", Answer(200, body.encode()))
                with pytest.raises(BillingError) as caught:
                    adapter.deliver(provisioned())
                seen += [str(caught.value), repr(caught.value), caught.value.detail, caught.value.public]
    text = "\n".join([*seen, caplog.text, *map(repr, logs), repr(adapter), repr(vars(adapter))])
    assert [secret for secret in SECRETS if secret in text] == []


def test_credentials_are_in_no_repr() -> None:
    assert PASSWORD not in repr(provisioned())


def test_address_is_shown_without_what_may_be_secret(adapters: Callable[..., WhmcsBilling]) -> None:
    adapter = adapters(url="http://login:pass@127.0.0.1:1/api.php?accesskey=hidden")
    with pytest.raises(BillingUnavailable) as caught:
        adapter.check()
    assert "http://127.0.0.1:1/api.php:" in caught.value.detail
    assert "hidden" not in caught.value.detail
    assert "login" not in caught.value.detail


# check


def test_check_says_version_and_that_all_is_allowed(stub: WhmcsStub, adapter: WhmcsBilling) -> None:
    assert adapter.check() == (
        f"{stub.api_url}: WHMCS 8.13.1, lets this machine in and allows what is needed; "
        "without https all of it can be read on the way"
    )


@pytest.mark.parametrize(
    ("wishes", "needed"),
    [
        ({}, {"SendEmail", "TriggerNotificationEvent"}),
        ({"welcome_email": ""}, {"TriggerNotificationEvent"}),
        ({"on_failure": "ticket"}, {"SendEmail", "OpenTicket", "AddTicketNote"}),
        ({"on_failure": "nothing"}, {"SendEmail"}),
    ],
)
def test_check_probes_what_the_settings_need_and_nothing_happens(
    stub: WhmcsStub, adapters: Callable[..., WhmcsBilling], wishes: dict[str, Any], needed: set[str]
) -> None:
    before = dict(stub.services["1001"])
    adapter = adapters(**wishes)
    adapter.check()
    always = {"WhmcsDetails", "GetClientsProducts", "UpdateClientProduct", "LogActivity"}
    assert {action for action, _ in stub.calls} == needed | always
    assert (stub.services, stub.mails, stub.tickets, stub.notifications) == ({"1001": before}, [], {}, [])
    assert [line for line in stub.log if line] == []
    stub.forbidden = needed | always
    with pytest.raises(BillingRefused) as caught:
        adapter.check()
    lines = caught.value.detail.splitlines()
    assert len(lines) == len(needed | always) - 1  # the version is not needed
    for action in (needed | always) - {"WhmcsDetails"}:
        assert sum(f"allow {action} in the API role" in line for line in lines) == 1


@pytest.mark.parametrize(
    ("wishes", "remedy"),
    [
        ({"welcome_email": "Nowhere"}, "welcome_email must name an enabled template"),
        ({"welcome_email": "Switched Off"}, "welcome_email must name an enabled template"),
        ({"on_failure": "ticket", "ticket_department": 9}, "ticket_department must be the number"),
    ],
)
def test_check_finds_settings_that_do_not_fit(
    stub: WhmcsStub, adapters: Callable[..., WhmcsBilling], wishes: dict[str, Any], remedy: str
) -> None:
    with pytest.raises(BillingRefused, match=remedy):
        adapters(**wishes).check()


def test_check_needs_no_version(stub: WhmcsStub, adapter: WhmcsBilling) -> None:
    stub.forbidden.add("WhmcsDetails")
    assert "a role with WhmcsDetails" in adapter.check()
    stub.forbidden.clear()
    stub.version = []
    assert ": WHMCS, lets" in adapter.check()


@pytest.mark.parametrize("message", ["Access Denied", "A new word"])
def test_check_fails_where_a_whole_call_is_refused(
    stub: WhmcsStub, adapter: WhmcsBilling, message: str
) -> None:
    """Whatever it is that WHMCS says: a read with all its parameters has to succeed."""
    stub.refuse("*", message, times=9)
    with pytest.raises(BillingRefused, match=message):
        adapter.check()


def test_check_does_not_take_a_redirect_for_an_answer(stub: WhmcsStub, adapter: WhmcsBilling) -> None:
    stub.fault("*", "answer", Answer(301, headers={"Location": "/x"}), times=9)
    with pytest.raises(BillingRefused, match="final address"):
        adapter.check()


def test_check_of_whmcs_that_is_away(stub: WhmcsStub, adapter: WhmcsBilling) -> None:
    stub.listener.go_down()
    with pytest.raises(BillingUnavailable, match="nothing was sent"):
        adapter.check()


# The whole way


@pytest.fixture
def shop(worlds: Callable[..., World], stub: WhmcsStub) -> World:
    return worlds(billing={"shop": stub.settings()}, safety={"terminate_grace": 3600, "suspend_grace": 1})


def test_order_comes_to_credentials_in_whmcs_and_one_mail(shop: World, stub: WhmcsStub) -> None:
    stub.add("1001", domainstatus="Active")  # CreateAccount said success
    stub.fault("SendEmail", "page", times=2)
    stub.fault("LogActivity", "drop", times=1)
    order = shop.order(hostname="web1.example.com")
    assert shop.done(order).state is State.SUCCEEDED
    (vm,) = shop.sandbox.state()["vms"]
    service = stub.services["1001"]
    assert (service["username"], service["password"]) == ("root", vm["password"])
    assert (service["dedicatedip"], service["domain"]) == (vm["ips"][0], "web1.example.com")
    assert [mail["password"] for mail in stub.mails] == [vm["password"]]
    assert shop.app.store.read(lambda verbs: verbs.credentials("shop", "1001")) is None
    shop.app.store.close()
    password = vm["password"].encode()
    assert [file.name for file in shop.folder.iterdir() if password in file.read_bytes()] == []
    shop.open()


def test_life_of_a_service_from_our_console_shows_in_whmcs(shop: World, stub: WhmcsStub) -> None:
    """What an admin does here arrives as the same deliveries."""
    status = lambda: stub.services["1001"]["domainstatus"]  # noqa: E731
    shop.done(shop.order())
    assert status() == "Active"
    shop.done(shop.event("service.suspend", reason="abuse"))
    assert (status(), stub.services["1001"]["suspendreason"]) == ("Suspended", "abuse")
    shop.done(shop.event("service.unsuspend"))
    assert (status(), stub.services["1001"]["suspendreason"]) == ("Active", "")
    terminate = shop.event("service.terminate")
    stub.services["1001"]["domainstatus"] = "Terminated"  # WHMCS's own word, at once
    shop.run(60)
    shop.app.commands.cancel(terminate, "anna")
    shop.run(120)
    assert status() == "Active"
    shop.done(shop.event("service.reset_password"))
    assert len(stub.mails) == 2
    shop.done(shop.event("service.terminate", immediate=True))
    service = stub.services["1001"]
    assert (status(), service["username"], service["password"], service["dedicatedip"]) == (
        "Terminated",
        "",
        "",
        "",
    )


def test_suspension_that_is_over_by_now_does_not_show(shop: World, stub: WhmcsStub) -> None:
    """WHMCS was away; when it comes back, only what is latest is written over what it shows."""
    shop.done(shop.order())
    stub.listener.go_down()
    for kind in ("service.suspend", "service.unsuspend"):
        shop.event(kind)
    shop.run(120)
    stub.services["1001"]["domainstatus"] = "Active"
    stub.listener.come_up()
    written = len(stub.of("UpdateClientProduct"))
    shop.run(900)
    assert [one.get("status") for one in stub.of("UpdateClientProduct")[written:]] == [None]


def test_failed_create_goes_back_to_pending_and_staff_hear_of_it_once(shop: World, stub: WhmcsStub) -> None:
    stub.add("1001", domainstatus="Active")
    shop.sandbox.fault(method="POST", path="/datacenter/server", kind="error", error="0xb0: no", status=400)
    stub.refuse("LogActivity", "Not today", times=2)
    order = shop.order()
    assert shop.done(order).state is State.FAILED
    shop.run(600)
    assert stub.services["1001"]["domainstatus"] == "Pending"
    assert [one["notification_identifier"] for one in stub.notifications] == ["provisioner.failed"]
    assert "0xb0" in stub.notifications[0]["message"]


def test_refusal_stands_in_the_timeline_with_its_remedy_and_no_secret(
    shop: World, stub: WhmcsStub, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    stub.forbidden.add("UpdateClientProduct")
    with capture_logs() as logs:
        order = shop.order()
        shop.run(120)
        assert shop.operation(order).state is State.DELIVERING
        stub.forbidden.clear()
        assert shop.done(order).state is State.SUCCEEDED
    text = "\n".join([*shop.timeline(order), caplog.text, *map(repr, logs)])
    (vm,) = shop.sandbox.state()["vms"]
    assert "allow UpdateClientProduct in the API role" in text
    assert [secret for secret in (vm["password"], SECRET, IDENTIFIER) if secret in text] == []


# What it says after a restore


def test_statuses_are_told_in_one_case_and_what_is_missing_too(
    stub: WhmcsStub, adapter: WhmcsBilling
) -> None:
    stub.services["1001"]["domainstatus"] = "Cancelled"
    assert adapter.statuses(["1001", "4", "12x"]) == {"1001": "cancelled", "4": "missing", "12x": "missing"}
    assert {action for action, _ in stub.calls} == {"GetClientsProducts"}


def test_statuses_that_cannot_be_had_are_an_error(stub: WhmcsStub, adapter: WhmcsBilling) -> None:
    stub.fault("*", "page")
    with pytest.raises(BillingUnavailable):
        adapter.statuses(["1001"])
