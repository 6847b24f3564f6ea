"""The drop-in's parts by themselves, and all of it before a service whose every answer is scripted."""

from __future__ import annotations

import json
import re
import sqlite3
import ssl
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from standardwebhooks import Webhook

from provisioner.sandbox.wire import Answer, Exchange, Listener
from tests.acceptance.conftest import PATIENCE_S
from tests.acceptance.whmcs.conftest import HERE, WELCOME, Whmcs

VECTORS = HERE.parents[1] / "whmcs_writes.json"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # the specification's
PLANS = [
    {
        "name": "vps-s",
        "label": "Small",
        "template": "Debian10.0",
        "cpu_cores": 1,
        "mem": 1024,
        "disk": "10G",
        "ip_count": 1,
        "templates": ["Debian10.0", "Ubuntu20.04"],
        "max": {"mem": 8192, "disk": "100G"},
        "disk_shrink": "refuse",
    },
    {
        "name": "vps-keep",
        "label": "vps-keep",
        "template": "Debian10.0",
        "cpu_cores": 1,
        "mem": 1024,
        "disk": "5G",
        "ip_count": 1,
        "templates": [],
        "max": {},
        "disk_shrink": "keep",
    },
]
SHOWN: dict[str, Any] = {
    "service_id": "1",
    "status": "active",
    "vmid": 4001,
    "ips": ["192.0.2.10"],
    "hostname": "web1.example.com",
    "plan": "vps-s",
    "spec": {"template": "Debian10.0", "cpu_cores": 1, "mem": 1024, "disk": "10G", "ip_count": 1},
    "operation": None,
}
SETTINGS = {"welcome_email": WELCOME, "on_failure": "notify", "ticket_department": 1}
UNKNOWN = Answer.json(422, {"error": {"code": "unknown_service", "message": "service 1 is unknown"}})
TAKEN = Answer.json(202, {"event": "e", "operation": "o", "status_url": "u"})
UNREAD = Answer.json(401, {"error": {"code": "unauthorized", "message": "no signature fits"}})


class Scripted:
    """A provisioner that says what it is told to say; it takes nothing that is not signed."""

    def __init__(self) -> None:
        self.said: dict[str, Answer | Callable[[dict[str, Any]], Answer]] = {}
        self.heard: list[dict[str, Any]] = []
        self.agents: set[str] = set()
        self._listener = Listener(self._serve)
        self._listener.come_up()

    @property
    def port(self) -> int:
        return self._listener.port

    def reset(self) -> None:
        self.heard.clear()
        self.said = {
            "ping": Answer.json(
                200,
                {
                    "ok": True,
                    "version": "1",
                    "clock_skew": 0.1,
                    "drop_in": {"minimum": "0.1.0", "newest": "0.2.0"},
                },
            ),
            "plans.list": Answer.json(200, {"items": PLANS}),
            "templates.list": Answer.json(200, {"items": [{"name": "Debian10.0", "label": "Debian 10"}]}),
            "service.show": UNKNOWN,
            "deliveries.pull": Answer.json(200, {"items": [], "deliver": "push"}),
        }

    def events(self, kind: str = "") -> list[dict[str, Any]]:
        """The events that came, each with its webhook-id; of one type where one is named."""
        return [
            one for one in self.heard if one["path"].startswith("/webhooks/") and kind in ("", one["type"])
        ]

    def asked(self, kind: str) -> list[dict[str, Any]]:
        return [
            one["data"] for one in self.heard if one["path"].startswith("/queries/") and one["type"] == kind
        ]

    def shows(self, **fields: Any) -> None:
        self.said["service.show"] = Answer.json(200, {**SHOWN, **fields})

    def go_down(self) -> None:
        self._listener.go_down()

    def come_up(self) -> None:
        self._listener.come_up()

    def close(self) -> None:
        self._listener.close()

    def _serve(self, exchange: Exchange) -> None:
        Webhook(SECRET).verify(exchange.body, exchange.headers)
        message = json.loads(exchange.body)
        self.agents.add(exchange.headers["user-agent"])
        self.heard.append({**message, "id": exchange.headers["webhook-id"], "path": exchange.path})
        said = self.said.get(message["type"], TAKEN)
        exchange.send(said(message) if callable(said) else said)


class Shop:
    """A stand-in for WHMCS with one server, one product and one client, before a scripted service."""

    def __init__(self, folder: Path) -> None:
        self.service = Scripted()
        self.whmcs = Whmcs(folder / "whmcs")
        self.server = self.record(password=SECRET)
        self.whmcs.click("client")
        self.product = self.sell("vps-s")

    def record(self, **fields: Any) -> int:
        given = {
            "type": "provisioner",
            "hostname": "127.0.0.1",
            "port": self.service.port,
            "username": "whmcs",
        }
        return int(self.whmcs.click("server", **{**given, **fields}))

    def sell(self, plan: str, **fields: Any) -> int:
        made = self.whmcs.click(
            "product",
            **{
                "name": plan,
                "servertype": "provisioner",
                "servergroup": 1,
                "welcomeemail": 1,
                "configoption1": plan,
                **fields,
            },
        )
        self.whmcs.click("save_product", pid=made)
        return int(made)

    def hosting(self, **fields: Any) -> int:
        """A service of this product; Active unless another status is given."""
        return int(
            self.whmcs.click("hosting", **{"packageid": self.product, "server": self.server, **fields})
        )

    def act(self, service: int, verb: str, **more: Any) -> str:
        return str(self.whmcs.click("act", service=service, verb=verb, more=more))

    def unit(self, name: str, **arguments: Any) -> Any:
        """The answer of a part of the drop-in (`php/units.php`)."""
        ran = subprocess.run(
            ["php", str(HERE / "php" / "units.php"), str(self.whmcs.root)],
            input=json.dumps([name, arguments]).encode(),
            capture_output=True,
            timeout=PATIENCE_S,
            check=True,
        )
        return json.loads(ran.stdout)

    def sql(self, statement: str, *values: Any) -> None:
        with closing(sqlite3.connect(self.whmcs.root / "whmcs.sqlite", timeout=PATIENCE_S)) as database:
            database.execute(statement, values)
            database.commit()

    def spooled(self) -> list[tuple[int, str]]:
        rows = self.whmcs.rows("mod_provisioner_events", state="spooled")
        return [(row["service_id"], row["type"]) for row in rows]

    def rested(self) -> None:
        """As if a minute had passed."""
        self.sql("DELETE FROM mod_provisioner_facts WHERE name LIKE 'rests:%'")

    def close(self) -> None:
        self.service.close()
        self.whmcs.close()


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with closing(Shop(tmp_path_factory.mktemp("units"))) as shop:
        shop.service.reset()
        shop.whmcs.cron()  # makes the tables
        yield shop


@pytest.fixture
def shop(opened: Shop) -> Iterator[Shop]:
    opened.service.reset()
    opened.service.come_up()
    for table in ("facts", "events", "deliveries", "marks", "services"):
        kept = " WHERE name != 'installation'" if table == "facts" else ""
        opened.sql(f"DELETE FROM mod_provisioner_{table}{kept}")
    opened.sql("UPDATE tblemailtemplates SET disabled = 0")
    opened.sql(
        "UPDATE tblproducts SET servertype = '' WHERE id != ?", opened.product
    )  # Test Connection sees all
    for table in (
        "tblactivitylog",
        "tblmodulelog",
        "standin_mails",
        "standin_calls",
        "standin_notifications",
        "tbltickets",
        "tblticketnotes",
    ):
        opened.sql(f"DELETE FROM {table}")
    yield opened
    assert opened.whmcs.complaints() == ""


def item(service: int, kind: str = "service.provisioned", name: str = "d1", **data: Any) -> dict[str, Any]:
    """A delivery as `deliveries.pull` gives it."""
    credentials = {
        "username": "root",
        "password": 'n&w"<p>',
        "ips": ["192.0.2.10", "192.0.2.11"],
        "vmid": 4001,
    }
    facts = credentials if kind in ("service.provisioned", "service.credentials") else {}
    told = {"service_id": str(service), "operation": "op1", "status": "active", **facts, **data}
    return {"id": name, "type": kind, "timestamp": "2026-11-25T12:00:00Z", "data": told, "latest": True}


class Waiting:
    """What waits for a billing system that pulls; an item goes once it is acknowledged."""

    def __init__(self, *items: dict[str, Any], **settings: Any) -> None:
        self.items = list(items)
        self.acked: list[list[str]] = []
        self.lose = 0  # so many acknowledgements are not taken note of
        self._settings = {**SETTINGS, **settings}

    def __call__(self, message: dict[str, Any]) -> Answer:
        acked = message["data"].get("ack", [])
        if acked:
            self.acked.append(acked)
            if self.lose > 0:
                self.lose -= 1
                return Answer.page(502)
        self.items = [one for one in self.items if one["id"] not in acked]
        return Answer.json(200, {"items": self.items[:100], "settings": self._settings, "deliver": "pull"})


@contextmanager
def forged(folder: Path) -> Iterator[tuple[int, list[str]]]:
    """An https server whose certificate nobody vouches for; its port, and the paths that it was asked for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    valid = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(1))
    named = valid.add_extension(
        x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False
    )
    (folder / "cert.pem").write_bytes(named.sign(key, SHA256()).public_bytes(Encoding.PEM))
    plain = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "key.pem").write_bytes(key.private_bytes(*plain))
    heard: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(self.path)
            self.send_response(202)
            self.end_headers()
            self.wfile.write(TAKEN.body)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield server.server_port, heard
        server.shutdown()
        thread.join(PATIENCE_S)


# Signing


def test_signature_is_the_specifications(shop: Shop) -> None:
    signed = shop.unit(
        "sign",
        secret=SECRET,
        id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        timestamp=1614265330,
        body='{"test": 2432232314}',
    )
    assert signed["answer"]["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_id_is_a_random_uuid(shop: Shop) -> None:
    ids = shop.unit("ids", count=50)["answer"]
    assert len(set(ids)) == 50
    assert {UUID(one).version for one in ids} == {4}
    assert {str(UUID(one)) for one in ids} == set(ids)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_%%%", "whsec_c2hvcnQ=", "a password"])
def test_what_is_no_secret_is_said(shop: Shop, secret: str) -> None:
    assert "has no secret" in shop.unit("sign", secret=secret, id="i", timestamp=1, body="{}")["problem"]


def test_drop_in_says_its_version(shop: Shop) -> None:
    shop.whmcs.click("test_connection", server=shop.server)
    assert shop.service.agents == {"provisioner-whmcs/0.2.0"}
    assert shop.service.asked("ping") == [{"drop_in_version": "0.2.0"}]


# What the module keeps


def test_installation_is_made_once_by_many_processes(shop: Shop) -> None:
    shop.sql("DELETE FROM mod_provisioner_facts")
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda _: shop.unit("installations", count=2)["answer"], range(6)))
    assert len({name for pair in found for name in pair}) == 1
    assert re.fullmatch(r"https://billing\.example\.com/#[0-9a-f]{16}", found[0][0])


def test_tables_are_made_by_many_processes_at_once(shop: Shop) -> None:
    for table in ("facts", "events", "deliveries", "marks", "services"):
        shop.sql(f"DROP TABLE mod_provisioner_{table}")
    with ThreadPoolExecutor(6) as pool:
        answers = list(
            pool.map(lambda n: shop.unit("facts", remember={f"n{n}": str(n)}, ask=f"n{n}"), range(6))
        )
    assert [answer["answer"] for answer in answers] == [str(n) for n in range(6)]


def test_database_that_refuses_is_one_sentence(shop: Shop) -> None:
    service = shop.hosting(domainstatus="Pending")
    refusing = "BEFORE INSERT ON mod_provisioner_events BEGIN SELECT RAISE(FAIL, 'read-only'); END"
    shop.sql(f"CREATE TRIGGER frozen {refusing}")
    try:
        answer = shop.act(service, "create")
    finally:
        shop.sql("DROP TRIGGER frozen")
    assert answer.startswith("The tables mod_provisioner_")
    assert answer.count(".") == 1 or "\n" not in answer
    assert shop.service.events() == []  # nothing is sent that could not be sent again under the same id


# Options


@pytest.mark.parametrize(
    ("choices", "options"),
    [
        ({}, {}),
        (
            {"cpu_cores": "2", "mem": "2048", "disk": "20", "ip_count": "2"},
            {"cpu_cores": 2, "mem": 2048, "disk": "20G", "ip_count": 2},
        ),
        ({"disk": "20G"}, {"disk": "20G"}),
        ({"disk": "1T"}, {"disk": "1024G"}),
        ({"disk": "512M"}, {"disk": "512M"}),
        ({"mem+": "512", "disk+": "5"}, {"mem": 1536, "disk": "15G"}),
        ({"cpu_cores+": "3", "ip_count+": "1"}, {"cpu_cores": 4, "ip_count": 2}),
        ({"mem": "2048", "mem+": "512"}, {"mem": 2560}),
        ({"disk": "512M", "disk+": "1"}, {"disk": "1536M"}),
    ],
)
def test_choices_become_options(shop: Shop, choices: dict[str, str], options: dict[str, Any]) -> None:
    assert shop.unit("spec", plan="vps-s", choices=choices, values=PLANS[0])["answer"]["options"] == options


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        ({"mem": "2"}, 'mem comes to "2"; it must be a whole number of MB from 64 to 4194304'),
        ({"mem": "2 GB"}, 'mem comes to "2 GB"; it must be a whole number of MB'),
        ({"cpu_cores": "2000"}, "from 1 to 1024"),
        ({"cpu_cores": "-1"}, "from 1 to 1024"),
        ({"ip_count+": "300"}, 'ip_count comes to "301"'),
        ({"disk": "20 GB"}, "a whole number of GB from 1 to 99999"),
        ({"disk": "20g"}, "or such as 20G or 1T"),
        ({"disk+": "1.5"}, "whole number of GB"),
        ({"mem+": "1GB"}, "whole number of MB"),
        ({"disk": "99999T", "disk+": "1"}, "more than 99999G"),
    ],
)
def test_choice_out_of_range_is_a_sentence(shop: Shop, choices: dict[str, str], words: str) -> None:
    assert words in shop.unit("spec", plan="vps-s", choices=choices, values=PLANS[0])["problem"]


def test_options_are_found_by_any_part_of_their_name(shop: Shop) -> None:
    product = shop.sell("vps-s")
    shop.whmcs.click("option", pid=product, name="mem|Memory &amp; more", choices=["2048|2 GB", "4096|4 GB"])
    names = ("mem", "mem|Memory & more", "Memory & more", "Memory &amp; more")
    chosen = [{name: value, "Support": "Gold"} for name in names for value in ("4096", "4096|4 GB", "4 GB")]
    found = shop.unit("choices", pid=product, configoptions=chosen)["answer"]
    assert found == [{"mem": "4096"}] * len(chosen)


def test_what_was_not_chosen_is_the_plans(shop: Shop) -> None:
    chosen = [{"mem": value, "disk+": value} for value in ("", "0", 0, None)]
    assert shop.unit("choices", pid=shop.product, configoptions=chosen)["answer"] == [{}] * 4


def test_template_of_the_customer_goes_before_the_products(shop: Shop) -> None:
    spec = shop.unit(
        "spec", plan="vps-s", template="Debian10.0", choices={"template": "Ubuntu20.04"}, values={}
    )
    assert spec["answer"]["template"] == "Ubuntu20.04"


def test_option_of_an_order_out_of_range_is_no_event(shop: Shop) -> None:
    product = shop.sell("vps-s")
    made = shop.whmcs.click("option", pid=product, name="mem|Memory", choices=["2|2 GB"])
    placed = shop.whmcs.client("order", pid=product, options={made["option"]: made["choices"]["2"]}, pay=True)
    assert "whole number of MB" in placed["answer"]
    assert shop.service.events() == []


def test_adding_option_needs_the_plan_once(shop: Shop) -> None:
    product = shop.sell("vps-s")
    made = shop.whmcs.click("option", pid=product, name="mem+|Memory", type="quantity")
    shop.sql(
        "DELETE FROM mod_provisioner_facts WHERE name LIKE 'plans.list:%'"
    )  # seen when the product was saved
    shop.service.go_down()
    placed = shop.whmcs.client("order", pid=product, options={made["option"]: 512}, pay=True)
    assert "did not answer" in placed["answer"]  # the plan was never seen: nothing can be added to it
    shop.service.come_up()
    shop.rested()
    shop.whmcs.click("product_page", pid=product)
    shop.sql(
        "UPDATE mod_provisioner_facts SET value = json_set(value, '$.at', 1) WHERE name LIKE 'plans.list:%'"
    )
    shop.service.go_down()
    placed = shop.whmcs.client("order", pid=product, options={made["option"]: 512}, pay=True)
    shop.service.come_up()
    assert placed["answer"] == "success"
    (row,) = shop.whmcs.rows("mod_provisioner_events")
    assert json.loads(row["body"])["data"]["options"] == {"mem": 1536}


# Orders


@pytest.mark.parametrize(
    ("status", "operation", "whmcs", "sent"),
    [
        ("pending", {"kind": "create", "state": "running"}, "Pending", None),
        ("pending", {"kind": "create", "state": "held"}, "Pending", None),
        ("active", None, "Pending", None),
        ("suspended", {"kind": "suspend", "state": "succeeded"}, "Pending", None),
        ("active", {"kind": "terminate", "state": "queued"}, "Terminated", True),
        ("terminating", {"kind": "terminate", "state": "waiting"}, "Terminated", True),
        ("terminating", {"kind": "terminate", "state": "waiting"}, "Pending", False),
        ("failed", {"kind": "create", "state": "failed"}, "Pending", False),
        ("failed", {"kind": "create", "state": "queued"}, "Pending", None),
        ("terminated", {"kind": "terminate", "state": "succeeded"}, "Terminated", True),
    ],
)
def test_order_goes_by_what_is_there(
    shop: Shop, status: str, operation: Any, whmcs: str, sent: bool | None
) -> None:
    service = shop.hosting(domainstatus=whmcs)
    shop.service.shows(status=status, operation=operation)
    assert shop.act(service, "create") == "success"
    assert [one["data"].get("recreate", False) for one in shop.service.events("order.paid")] == (
        [] if sent is None else [sent]
    )


def test_terminated_service_is_not_ordered_by_mistake(shop: Shop) -> None:
    service = shop.hosting(domainstatus="Active")
    shop.service.shows(status="terminated")
    assert "status of this service to Terminated" in shop.act(service, "create")
    assert shop.service.events() == []


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"qty": 2}, "quantity 2"),
        ({"domain": "my server"}, "no host name"),
        ({"domain": "1.2.3.4"}, "no host name"),
    ],
)
def test_service_that_cannot_be_ordered_is_a_sentence(shop: Shop, fields: dict[str, Any], words: str) -> None:
    assert words in shop.act(shop.hosting(domainstatus="Pending", **fields), "create")
    assert shop.service.events() == []


def test_addon_is_refused(shop: Shop) -> None:
    assert "addon" in shop.act(shop.hosting(domainstatus="Pending"), "create", addonId=3)
    assert shop.service.events() == []


def test_nothing_of_the_client_but_his_number_leaves(shop: Shop) -> None:
    shop.act(shop.hosting(domainstatus="Pending", domain="web1.example.com"), "create")
    (event,) = shop.service.events()
    assert set(event) - {"id", "path"} == {"type", "timestamp", "data", "source"}
    assert event["data"]["client"] == {"id": "1"}
    assert "ada@" not in repr(event)


# What comes back


def test_refused_event_keeps_its_id_for_the_same_data(shop: Shop) -> None:
    service = shop.hosting()
    shop.service.said["service.suspend"] = Answer.json(
        422, {"error": {"code": "unknown_plan", "message": "no plan"}}
    )
    for reason in ("abuse", "abuse", "spam"):
        assert "no plan" in shop.act(service, "suspend", suspendreason=reason)
    first, second, third = [one["id"] for one in shop.service.events()]
    assert first == second != third
    assert len(shop.whmcs.rows("mod_provisioner_events")) == 1
    shop.service.said["service.suspend"] = TAKEN
    assert shop.act(service, "suspend", suspendreason="spam") == "success"
    assert shop.service.events()[-1]["id"] == third
    assert shop.whmcs.rows("mod_provisioner_events") == []
    shop.act(service, "suspend", suspendreason="spam")
    assert shop.service.events()[-1]["id"] not in (first, third)


def test_spent_id_is_not_used_again(shop: Shop) -> None:
    service = shop.hosting()
    shop.service.said["service.unsuspend"] = Answer.json(
        409, {"error": {"code": "id_reused", "message": "used"}}
    )
    shop.act(service, "unsuspend")
    shop.act(service, "unsuspend")
    assert len({one["id"] for one in shop.service.events()}) == 2


@pytest.mark.parametrize(
    "answer",
    [
        Answer.page(200),
        Answer.page(502),
        Answer(302, b"", headers={"Location": "https://elsewhere.example.com/"}),
        Answer.json(503, {"error": {"code": "store_unavailable", "message": "busy"}}),
        Answer(200, b"[" * 100_000),
    ],
    ids=["page", "bad gateway", "redirect", "unavailable", "not JSON"],
)
def test_no_clear_answer_keeps_the_event(shop: Shop, answer: Answer) -> None:
    service = shop.hosting()
    shop.service.said["service.suspend"] = answer
    assert shop.act(service, "suspend") == "success"
    assert shop.spooled() == [(service, "service.suspend")]
    shop.service.said["service.suspend"] = TAKEN
    shop.whmcs.cron()
    assert shop.spooled() == []
    assert len({one["id"] for one in shop.service.events("service.suspend")}) == 1


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (UNREAD, "did not accept the signature"),
        (Answer.json(404, {"error": {"code": "not_found", "message": "none"}}), 'no billing system "whmcs"'),
        (Answer.page(404), "There is no provisioner at http://127.0.0.1"),
        (
            Answer.json(403, {"error": {"code": "unknown_installation", "message": "?"}}),
            "provisioner billing trust whmcs",
        ),
        (Answer.json(422, {"error": {"code": "unknown_service", "message": "?"}}), "knows no such service"),
        (
            Answer.json(413, {"error": {"code": "too_large", "message": "too large"}}),
            "(too_large): too large",
        ),
        (
            Answer.json(401, {}, {"Date": "Wed, 25 Nov 2020 12:00:00 GMT"}),
            "The clocks of WHMCS and provisioner differ",
        ),
    ],
)
def test_refusal_is_a_sentence_and_not_kept(shop: Shop, answer: Answer, words: str) -> None:
    service = shop.hosting()
    shop.service.said["service.suspend"] = answer
    assert words in shop.act(service, "suspend")
    assert shop.spooled() == []
    shop.whmcs.cron()
    assert len(shop.service.events()) == 1


def test_answer_without_an_end_is_given_up(shop: Shop) -> None:
    service = shop.hosting()
    shop.service.said["service.suspend"] = Answer(200, b'{"event": "' + b"x" * (5 << 20) + b'"}')
    assert shop.act(service, "suspend") == "success"
    assert shop.spooled() == [(service, "service.suspend")]


def test_nothing_is_tried_for_a_minute_after_a_failed_connection(shop: Shop) -> None:
    services = [shop.hosting() for _ in range(3)]
    shop.service.go_down()
    assert shop.act(services[0], "suspend") == "success"
    shop.service.come_up()
    for service in services[1:]:
        assert shop.act(service, "suspend") == "success"
    shop.whmcs.cron()
    fields = shop.whmcs.click("admin_page", service=services[0])["fields"]
    assert "tried again in" in fields["State"]
    assert shop.service.heard == []
    shop.rested()
    shop.whmcs.cron()
    assert [one["data"]["service_id"] for one in shop.service.events()] == [str(one) for one in services]


def test_clock_that_was_set_back_does_not_rest_for_ever(shop: Shop) -> None:
    shop.service.go_down()
    shop.act(shop.hosting(), "suspend")
    shop.service.come_up()
    shop.sql(
        "UPDATE mod_provisioner_facts SET value = ? WHERE name LIKE 'rests:%'", str(int(time.time()) + 86400)
    )
    shop.whmcs.cron()
    assert shop.spooled() == []


def test_slow_service_costs_a_request_five_seconds_once(shop: Shop) -> None:
    over = threading.Event()

    def slowly(_: dict[str, Any]) -> Answer:
        over.wait(90)
        return TAKEN

    service = shop.hosting(domainstatus="Pending")
    shop.service.said["service.show"] = slowly
    began = time.monotonic()
    assert shop.act(service, "create") == "success"
    assert time.monotonic() - began < 60
    over.set()
    assert shop.spooled() == [(service, "order.paid")]


def test_certificate_of_another_is_no_provisioner(shop: Shop, tmp_path: Path) -> None:
    """Who stands in between with a certificate of his own reads no event and takes none."""
    with forged(tmp_path) as (port, heard):
        service = shop.hosting(server=shop.record(password=SECRET, port=port, secure="on"))
        assert shop.act(service, "suspend") == "success"
        assert heard == []
    assert shop.spooled() == [(service, "service.suspend")]


def test_events_of_a_service_keep_their_order(shop: Shop) -> None:
    one, other = shop.hosting(), shop.hosting()
    shop.service.go_down()
    assert shop.act(one, "suspend") == "success"
    shop.service.come_up()
    shop.rested()
    assert shop.act(one, "unsuspend") == "success"  # not sent: it would overtake the suspend
    assert shop.act(one, "suspend") == "success"
    assert shop.act(one, "suspend") == "success"  # a second click on the same
    assert shop.act(other, "suspend") == "success"
    assert [event["data"]["service_id"] for event in shop.service.events()] == [str(other)]
    shop.whmcs.cron()
    mine = [event["type"] for event in shop.service.events() if event["data"]["service_id"] == str(one)]
    assert mine == ["service.suspend", "service.unsuspend", "service.suspend"]


def test_first_failure_stops_a_service_and_no_other(shop: Shop) -> None:
    one, other = shop.hosting(), shop.hosting()
    shop.service.go_down()
    for service in (one, other):
        shop.act(service, "suspend")
        shop.act(service, "unsuspend")
    shop.service.come_up()
    shop.rested()
    shop.service.said["service.suspend"] = lambda message: (
        Answer.page(503) if message["data"]["service_id"] == str(one) else TAKEN
    )
    shop.whmcs.cron()
    assert shop.spooled() == [(one, "service.suspend"), (one, "service.unsuspend")]
    assert [
        event["type"] for event in shop.service.events() if event["data"]["service_id"] == str(other)
    ] == [
        "service.suspend",
        "service.unsuspend",
    ]


def test_kept_event_that_is_refused_is_told_and_lets_the_next_go(shop: Shop) -> None:
    service = shop.hosting()
    shop.service.go_down()
    shop.act(service, "suspend")
    shop.act(service, "unsuspend")
    shop.service.come_up()
    shop.rested()
    shop.service.said["service.suspend"] = Answer.json(
        422, {"error": {"code": "unknown_service", "message": "?"}}
    )
    shop.whmcs.cron()
    assert shop.spooled() == []
    assert shop.service.events()[-1]["type"] == "service.unsuspend"
    (told,) = shop.whmcs.rows("standin_notifications")
    assert f"Service {service}" in told["message"]
    assert any("A kept service.suspend was refused" in line for line in shop.whmcs.activity())


def test_wrong_secret_loses_nothing_that_is_kept(shop: Shop) -> None:
    service = shop.hosting()
    shop.service.go_down()
    shop.act(service, "suspend")
    shop.service.come_up()
    shop.rested()
    shop.service.said["service.suspend"] = UNREAD
    shop.whmcs.cron()
    shop.whmcs.cron()
    assert shop.spooled() == [(service, "service.suspend")]
    assert len(shop.whmcs.rows("standin_notifications")) == 1  # said once, not at every cron
    shop.service.said["service.suspend"] = TAKEN
    shop.whmcs.cron()
    assert shop.spooled() == []


def test_old_click_is_dropped_and_told(shop: Shop) -> None:
    service = shop.hosting()
    shop.service.go_down()
    assert shop.whmcs.click("admin_button", service=service, function="reinstall") == "success"
    assert shop.act(service, "suspend") == "success"
    shop.service.come_up()
    shop.rested()
    shop.sql("UPDATE mod_provisioner_events SET made_at = made_at - 1000")
    shop.whmcs.cron()
    assert [event["type"] for event in shop.service.events()] == ["service.suspend"]
    assert "service.reinstall was dropped" in shop.whmcs.rows("standin_notifications")[0]["title"]


def test_secret_that_is_missing_keeps_nothing(shop: Shop) -> None:
    bare = shop.record(password="no secret")
    service = shop.hosting(server=bare)
    assert "has no secret" in shop.act(service, "suspend")
    assert shop.whmcs.rows("mod_provisioner_events") == []


# Test Connection


@pytest.mark.parametrize(
    ("kind", "answer", "well", "words"),
    [
        (
            "ping",
            Answer.json(200, {"ok": True, "version": "0.2.0", "clock_skew": 75, "drop_in": {}}),
            True,
            "differ by 75 seconds",
        ),
        ("ping", Answer.json(401, {}, {"Date": "Wed, 25 Nov 2020 12:00:00 GMT"}), False, "keep time by NTP"),
        ("ping", UNREAD, False, "did not accept the signature"),
        ("ping", Answer.page(200), False, "a page that is not provisioner's"),
        ("ping", Answer.json(200, {"hello": "world"}), False, "not provisioner"),
        (
            "ping",
            Answer.json(200, {"ok": True, "drop_in": {"minimum": "0.2.0"}}),
            False,
            "needs at least 0.2.0",
        ),
        ("ping", Answer.json(200, {"ok": True, "version": "0.1.9"}), False, "update provisioner first"),
        (
            "ping",
            Answer.json(200, {"ok": True, "version": "0.2.0", "drop_in": {"newest": "0.3.0"}}),
            True,
            "Version 0.3.0",
        ),
        ("ping", Answer.json(403, {"error": {"code": "unknown_installation"}}), False, "billing trust whmcs"),
        ("plans.list", Answer.json(200, {"items": PLANS[1:]}), False, 'names the plan "vps-s"'),
    ],
)
def test_test_connection_names_the_remedy(
    shop: Shop, kind: str, answer: Answer, well: bool, words: str
) -> None:
    shop.service.said[kind] = answer
    said = shop.whmcs.click("test_connection", server=shop.server)
    assert said["success"] is well
    assert words in said["error"]


def test_test_connection_says_nothing_when_all_is_well(shop: Shop) -> None:
    assert shop.whmcs.click("test_connection", server=shop.server) == {"success": True, "error": ""}


def test_test_connection_misses_the_hook_file(shop: Shop) -> None:
    shop.whmcs.set(ModuleHooks="")
    try:
        said = shop.whmcs.click("test_connection", server=shop.server)
    finally:
        shop.whmcs.set(ModuleHooks="provisioner")
    assert said["success"] is False
    assert "hooks.php" in said["error"]


def test_test_connection_tests_no_other_record(shop: Shop) -> None:
    empty = shop.record(hostname="", password=SECRET)
    said = shop.whmcs.click("test_connection", server=empty)
    assert said["success"] is False
    assert "no usable host name" in said["error"]
    assert shop.service.heard == []


def test_test_connection_asks_though_it_failed_a_moment_ago(shop: Shop) -> None:
    shop.service.go_down()
    assert shop.whmcs.click("test_connection", server=shop.server)["success"] is False
    shop.service.come_up()
    assert shop.whmcs.click("test_connection", server=shop.server)["success"] is True


# Products


@pytest.mark.parametrize(
    ("settings", "option", "words"),
    [
        ({"configoption1": "vps-x"}, None, 'no plan "vps-x"'),
        ({"configoption1": ""}, None, "no plan"),
        ({"configoption2": "Windows"}, None, '"Windows", which this plan does not offer'),
        ({"allowqty": 1}, None, "Allow Multiple Quantities"),
        ({}, {"name": "memory|RAM"}, "was mem|RAM meant?"),
        ({}, {"name": "cpu_core|Cores"}, "was cpu_cores|Cores meant?"),
        ({}, {"name": "Disk|Disk"}, "was disk|Disk meant?"),
        ({}, {"name": "ram+|More"}, "was mem+|More meant?"),
        ({}, {"name": "mem|RAM", "choices": ["2|2 GB"]}, "whole number of MB"),
        (
            {},
            {"name": "disk|Disk", "choices": ["20|20 GB", "200|200 GB"]},
            "disk can come to 200G, and this plan has at most 100G",
        ),
        (
            {},
            {"name": "mem+|RAM", "choices": ["8192|8 GB"]},
            "mem+ can come to 9216, and this plan has at most 8192",
        ),
        (
            {},
            {"name": "template|OS", "choices": ["CentOS|CentOS"]},
            '"CentOS", which this plan does not offer',
        ),
        ({}, {"name": "mem+|RAM", "type": "yesno"}, "Yes/No"),
    ],
)
def test_product_is_looked_over_when_it_is_saved(shop: Shop, settings: Any, option: Any, words: str) -> None:
    product = shop.whmcs.click(
        "product",
        **{
            "name": "VPS",
            "servertype": "provisioner",
            "servergroup": 1,
            "configoption1": "vps-s",
            **settings,
        },
    )
    if option:
        shop.whmcs.click("option", pid=product, **option)
    shown = shop.whmcs.click("product_page", pid=product)["other"]["Provisioner"]
    assert words in shown.replace("&quot;", '"')
    shop.whmcs.click("save_product", pid=product)
    assert any(words in line for line in shop.whmcs.activity())


def test_good_product_is_called_good(shop: Shop) -> None:
    product = shop.sell("vps-s", configoption2="Ubuntu20.04")
    shop.whmcs.click("option", pid=product, name="mem|RAM", choices=["0|as the plan", "2048|2 GB"])
    shop.whmcs.click("option", pid=product, name="Support level", choices=["Gold", "Silver"])
    assert shop.whmcs.click("product_page", pid=product)["other"]["Provisioner"].endswith("Everything fits.")
    shop.whmcs.click("save_product", pid=product)
    assert not [line for line in shop.whmcs.activity() if "product" in line]


def test_other_products_are_left_alone(shop: Shop) -> None:
    product = shop.whmcs.click("product", name="A domain", servertype="", allowqty=1)
    assert "Provisioner" not in shop.whmcs.click("product_page", pid=product)["other"]


def test_loaders_offer_plans_and_templates(shop: Shop) -> None:
    fields = shop.whmcs.click("product_page", pid=shop.product)["fields"]
    assert list(fields) == ["Plan", "Template", "VM field of another module"]  # modules get them by position
    assert fields["Plan"]["loaded"]["choices"] == {"vps-s": "Small (vps-s)", "vps-keep": "vps-keep"}
    assert fields["Template"]["loaded"]["choices"] == {
        "": "as the plan says",
        "Debian10.0": "Debian 10 (Debian10.0)",
    }


def test_empty_list_is_asked_for_again(shop: Shop) -> None:
    """Until provisioner has seen the upstream's templates it lists none."""
    seen = shop.service.said["templates.list"]
    product = shop.sell("vps-keep", configoption2="Windows")
    shop.sql("DELETE FROM mod_provisioner_facts WHERE name LIKE 'templates.list:%'")
    shop.service.said["templates.list"] = Answer.json(200, {"items": []})
    assert "Windows" not in shop.whmcs.click("product_page", pid=product)["other"]["Provisioner"]
    shop.service.said["templates.list"] = seen
    assert "Windows" in shop.whmcs.click("product_page", pid=product)["other"]["Provisioner"]


def test_loader_says_what_is_wrong(shop: Shop) -> None:
    shop.service.said["plans.list"] = UNREAD
    assert (
        "did not accept the signature"
        in shop.whmcs.click("product_page", pid=shop.product)["fields"]["Plan"]["loaded"]["error"]
    )


# Smaller disks


@pytest.mark.parametrize(
    ("plan", "disk", "refused"),
    [("vps-s", "20G", True), ("vps-s", "10G", False), ("vps-keep", "20G", False), ("vps-s", None, False)],
)
def test_smaller_disk_is_refused_unless_the_plan_keeps_it(
    shop: Shop, plan: str, disk: str | None, refused: bool
) -> None:
    service = shop.hosting()
    shop.service.shows(spec={**SHOWN["spec"], "disk": disk} if disk else None)
    product = shop.sell(plan)
    assert bool(shop.whmcs.client("validate_upgrade", service=service, pid=product)) is refused
    answer = shop.whmcs.cli("upgrade", service=service, pid=product)["answer"]
    assert (answer != "success") is refused
    assert len(shop.service.events("service.upgrade")) == (0 if refused else 1)


def test_unknown_disk_never_blocks(shop: Shop) -> None:
    service = shop.hosting()
    shop.service.said["service.show"] = Answer.page(502)
    assert shop.whmcs.client("validate_upgrade", service=service, pid=shop.product) == []
    assert shop.act(service, "changepackage") == "success"


# Mails


def test_welcome_mail_waits_for_the_credentials(shop: Shop) -> None:
    shop.sql("DELETE FROM standin_mails")
    service = shop.whmcs.client("order", pid=shop.product, domain="web1.example.com", pay=True)["serviceid"]
    assert shop.whmcs.mails(service) == []
    shop.sql("UPDATE tblhosting SET dedicatedip = '192.0.2.10' WHERE id = ?", service)  # entered by hand
    send = {"action": "SendEmail", "values": {"messagename": WELCOME, "id": service}}
    assert shop.whmcs.click("local_api", **send)["result"] == "error"
    written = {"serviceid": service, "serviceusername": "root", "servicepassword": "the real one"}
    shop.whmcs.click("local_api", action="UpdateClientProduct", values=written)
    assert shop.whmcs.click("local_api", **send)["result"] == "success"
    assert "the real one" in shop.whmcs.mails(service)[0]


def test_welcome_mail_of_a_server_that_came_back_passes(shop: Shop) -> None:
    """Within the grace of a termination an order brings the VM back, whose password is there already."""
    service = shop.whmcs.client("order", pid=shop.product, pay=True)["serviceid"]
    written = {"serviceid": service, "servicepassword": "the real one", "dedicatedip": "192.0.2.10"}
    shop.whmcs.click("local_api", action="UpdateClientProduct", values=written)
    shop.sql("UPDATE tblhosting SET domainstatus = 'Terminated' WHERE id = ?", service)
    shop.service.shows(status="terminating")
    assert shop.act(service, "create") == "success"
    assert len(shop.whmcs.mails(service)) == 1
    shop.service.go_down()
    shop.sql("UPDATE tblhosting SET domainstatus = 'Terminated' WHERE id = ?", service)
    assert shop.act(service, "create") == "success"  # whether it is still there cannot be asked
    assert len(shop.whmcs.mails(service)) == 2


def test_welcome_mail_of_an_order_anew_waits(shop: Shop) -> None:
    """Also where the credentials of the terminated one are still there, because its end is not told yet."""
    service = shop.whmcs.client("order", pid=shop.product, pay=True)["serviceid"]
    written = {"serviceid": service, "servicepassword": "the old one", "dedicatedip": "192.0.2.10"}
    shop.whmcs.click("local_api", action="UpdateClientProduct", values=written)
    for password in ("", ", password = ''"):
        shop.sql(f"UPDATE tblhosting SET domainstatus = 'Terminated'{password} WHERE id = ?", service)
        shop.service.shows(status="terminated", operation={"kind": "terminate", "state": "delivering"})
        assert shop.act(service, "create") == "success"
    assert shop.whmcs.mails(service) == []


def test_mail_of_credentials_passes_without_an_ip(shop: Shop) -> None:
    """The IPs of a linked or adopted VM may never be known."""
    service = shop.whmcs.client("order", pid=shop.product, pay=True)["serviceid"]
    written = {"serviceid": service, "servicepassword": "the real one"}
    shop.whmcs.click("local_api", action="UpdateClientProduct", values=written)
    sent = shop.whmcs.click("local_api", action="SendEmail", values={"messagename": WELCOME, "id": service})
    assert sent["result"] == "success"


def test_mail_of_a_service_that_was_never_ordered_goes_by_its_ip(shop: Shop) -> None:
    for ip, result in (("", "error"), ("192.0.2.10", "success")):
        service = shop.hosting(dedicatedip=ip, password="a password")
        values = {"messagename": WELCOME, "id": service}
        assert shop.whmcs.click("local_api", action="SendEmail", values=values)["result"] == result


def test_other_mails_and_other_products_are_left_alone(shop: Shop) -> None:
    shop.hosting(domainstatus="Pending")
    assert shop.whmcs.click("hook", point="EmailPreSend", vars={"messagename": "Other", "relid": 1}) == []
    foreign = shop.whmcs.click(
        "hosting", packageid=shop.whmcs.click("product", name="A domain", welcomeemail=1)
    )
    assert (
        shop.whmcs.click("hook", point="EmailPreSend", vars={"messagename": WELCOME, "relid": foreign}) == []
    )
    assert shop.whmcs.click("hook", point="EmailPreSend", vars={}) == []


def test_passwords_stay_out_of_the_mail_log(shop: Shop) -> None:
    shop.sql("DELETE FROM tblhosting")
    shop.hosting(password="a&b<c>\"d'ü")
    shop.hosting(password="abc")  # three letters would blot out words
    spelt = ("a&b<c>\"d'ü", "a&amp;b&lt;c&gt;&quot;d&#039;ü", "a&amp;b&lt;c&gt;&quot;d'ü")
    message = f"root {', '.join(spelt)}, a&amp;b&lt;c&gt;&quot;d&#039;&uuml; and abc"
    (said,) = shop.whmcs.click("hook", point="EmailPreLog", vars={"userid": 1, "message": message})
    assert said == {"message": "root ••••••••, ••••••••, ••••••••, •••••••• and abc"}
    assert shop.whmcs.click("hook", point="EmailPreLog", vars={"userid": 2, "message": message}) == []
    assert shop.whmcs.click("hook", point="EmailPreLog", vars={"userid": 1, "message": "hello"}) == []


HOOKS = [
    "EmailPreSend",
    "EmailPreLog",
    "PreModuleChangePackage",
    "ShoppingCartValidateUpgrade",
    "ServiceDelete",
    "FraudOrder",
    "CancelOrder",
    "AdminProductConfigFields",
    "ProductEdit",
    "AfterCronJob",
]


def test_no_hook_breaks_a_page(shop: Shop) -> None:
    odd = {"params": 1, "id": [], "pid": "x", "relid": {}, "userid": 1, "message": [], "orderid": "x"}
    for point in HOOKS:
        for given in ({}, odd):
            assert shop.whmcs.click("hook", point=point, vars=given) == []


def test_no_hook_breaks_a_page_where_the_database_does(shop: Shop) -> None:
    service = shop.hosting()
    given = {
        "params": {"serviceid": service},
        "id": service,
        "relid": service,
        "userid": 1,
        "message": "m",
        "pid": 1,
    }
    shop.sql("ALTER TABLE tblproducts RENAME TO elsewhere")
    try:
        for point in HOOKS:
            assert (
                shop.whmcs.click("hook", point=point, vars={**given, "orderid": 1, "serviceid": service})
                == []
            )
    finally:
        shop.sql("ALTER TABLE elsewhere RENAME TO tblproducts")
    assert any("a hook (mailIsSent) did nothing" in line for line in shop.whmcs.activity())


# Customers


def test_customer_acts_only_by_a_form_of_ours(shop: Shop) -> None:
    service = shop.hosting()

    def press(**more: Any) -> Any:
        return shop.whmcs.client("client_page", service=service, button="clientReinstall", **more)

    assert press()["done"] == "page"
    assert press(method="POST", with_token=True)["done"] == "page"
    assert press(method="GET", with_token=True, post={"confirmed": "yes"})["done"] == "page"
    page = shop.whmcs.ended_page(
        "client_page",
        service=service,
        button="clientReinstall",
        method="POST",
        post={"confirmed": "yes"},
        **{"as": "client"},
    )
    assert page == "Invalid token"
    assert shop.service.events() == []
    assert press(method="POST", with_token=True, post={"confirmed": "yes"})["done"] == "success"
    assert [event["type"] for event in shop.service.events()] == ["service.reinstall"]
    assert shop.service.events()[0]["source"]["actor"] == {"type": "client", "name": "1"}


@pytest.mark.parametrize("status", ["Pending", "Suspended", "Terminated", "Cancelled", "Fraud"])
def test_customer_acts_only_on_an_active_service(shop: Shop, status: str) -> None:
    service = shop.hosting(domainstatus=status)
    said = shop.whmcs.client(
        "client_page",
        service=service,
        button="clientReboot",
        method="POST",
        with_token=True,
        post={"confirmed": "yes"},
    )
    assert "only while the service is active" in said["done"]
    assert shop.service.events() == []


@pytest.mark.parametrize(
    "answer", [UNREAD, Answer.json(422, {"error": {"code": "x", "message": "upstream says no"}})]
)
def test_customer_reads_no_technical_error(shop: Shop, answer: Answer) -> None:
    service = shop.hosting()
    shop.service.said["service.reboot"] = answer
    said = shop.whmcs.client(
        "client_page",
        service=service,
        button="clientReboot",
        method="POST",
        with_token=True,
        post={"confirmed": "yes"},
    )["done"]
    assert said == "This cannot be done at the moment. Please contact support."
    shop.service.said["service.show"] = answer
    page = shop.whmcs.client("client_page", service=service)["html"]
    assert "upstream" not in page
    assert "secret" not in page


def test_pages_escape_what_they_show(shop: Shop) -> None:
    service = shop.hosting()
    evil = '<script>alert("x")</script>'
    shop.service.shows(
        ips=[evil],
        hostname=evil,
        vmid=evil,
        plan=evil,
        operation={"kind": evil, "state": "failed", "progress": 0.5, "message": evil},
    )
    shown = [shop.whmcs.client("client_page", service=service)["html"]]
    shown += shop.whmcs.click("admin_page", service=service)["fields"].values()
    shop.service.shows(operation={"kind": "create", "state": "running", "progress": 0.4, "message": evil})
    shown.append(shop.whmcs.client("client_page", service=service)["html"])
    assert "<script" not in "".join(shown)
    assert "&lt;script" in shown[0]
    assert 'value="40"' in shown[-1]


def test_customer_sees_progress_then_addresses_and_buttons(shop: Shop) -> None:
    service = shop.hosting()
    words = "Your server is being set up."
    shop.service.shows(
        status="pending",
        ips=[],
        operation={"kind": "create", "state": "running", "progress": 0.4, "message": words},
    )
    page = shop.whmcs.client("client_page", service=service)["html"]
    assert words in page
    assert "<form" not in page
    shop.service.shows()
    page = shop.whmcs.client("client_page", service=service)["html"]
    assert "192.0.2.10" in page
    assert Counter(re.findall(r'name="a" value="(\w+)"', page)) == Counter(
        [
            "clientReboot",
            "clientStart",
            "clientShutdown",
            "clientReinstall",
            "clientResetPassword",
            "clientBackup",
        ]
    )
    assert page.count('name="token"') == 6
    assert page.count('name="confirmed"') == 4  # not where data or access are lost: those ask first
    shop.sql("UPDATE tblhosting SET domainstatus = 'Suspended' WHERE id = ?", service)
    page = shop.whmcs.client("client_page", service=service)["html"]
    assert "suspended" in page
    assert "<form" not in page


def test_customer_of_an_order_that_failed_hears_of_it(shop: Shop) -> None:
    service = shop.hosting(domainstatus="Pending")
    failed = {"kind": "create", "state": "failed", "progress": 1, "message": "0xb1: out of stock"}
    shop.service.shows(status="failed", vmid=None, ips=[], operation=failed)
    page = shop.whmcs.client("client_page", service=service)["html"]
    assert "Our staff has been told" in page
    assert "0xb1" not in page
    shop.service.shows()
    assert "<form" not in shop.whmcs.client("client_page", service=service)["html"]
    shop.service.said["service.show"] = UNKNOWN
    assert "no server for this service yet" in shop.whmcs.client("client_page", service=service)["html"]


def test_staff_see_state_and_what_is_kept(shop: Shop) -> None:
    service = shop.hosting()
    shop.service.shows(
        operation={"kind": "change", "state": "failed", "progress": 0, "message": "It did not work."}
    )
    shop.service.said["service.suspend"] = Answer.json(422, {"error": {"code": "x", "message": "no & no"}})
    shop.act(service, "suspend")
    fields = shop.whmcs.click("admin_page", service=service)["fields"]
    assert (fields["State"], fields["VM"], fields["IPs"]) == ("Active", "4001", "192.0.2.10")
    assert fields["Last error"] == "It did not work."
    assert "no &amp; no" in fields["Not at provisioner"]


def test_kept_events_go_at_a_press_of_the_button(shop: Shop) -> None:
    service = shop.hosting()
    shop.service.go_down()
    shop.act(service, "suspend")
    press = {"service": service, "function": "sendAndFetch"}
    assert "Still kept: service.suspend" in shop.whmcs.click("admin_button", **press)
    shop.service.come_up()
    assert shop.whmcs.click("admin_button", **press) == "success"
    assert shop.spooled() == []


def test_module_log_has_no_secret(shop: Shop) -> None:
    service = shop.hosting(domainstatus="Pending", password="the&password")
    shop.act(service, "create")
    shop.service.said["deliveries.pull"] = Waiting(item(service))
    shop.whmcs.cron()
    log = repr(shop.whmcs.rows("tblmodulelog"))
    assert "order.paid" in log
    for secret in (SECRET, SECRET[6:], "the&password", "the&amp;password", 'n&w"<p>', "n&amp;w"):
        assert secret not in log


# Fetched deliveries


def vectors() -> list[Any]:
    """What provisioner's own writer is held against, too."""
    return list(json.loads(VECTORS.read_text()))


@pytest.fixture(scope="module")
def written(opened: Shop) -> dict[str, Any]:
    """What the drop-in did for each vector."""
    opened.sql("UPDATE tblemailtemplates SET disabled = 0")
    found = opened.unit("write_all", vectors=vectors())["answer"]
    return {vector["name"]: one for vector, one in zip(vectors(), found, strict=True)}


@pytest.mark.parametrize("vector", vectors(), ids=lambda vector: vector["name"])
def test_fetched_delivery_makes_the_calls_of_the_table(written: dict[str, Any], vector: Any) -> None:
    made = written[vector["name"]]
    assert [action for action, _ in made["calls"]] == [action for action, _ in vector["calls"]]
    for (_, found), (_, expected) in zip(made["calls"], vector["calls"], strict=True):
        wanted = {
            name: value for name, value in expected.items() if name != "servicepassword"
        }  # the stand-in hides it
        assert set(found) == set(wanted)
        for name, value in wanted.items():
            if value == "*":
                assert found[name]
            elif name == "unset":
                assert sorted(found[name]) == sorted(value)
            else:
                assert str(found[name]) == value
        if "servicepassword" in expected:
            assert made["password"] == expected["servicepassword"]


def test_fetched_credentials_are_written_mailed_and_acknowledged(shop: Shop) -> None:
    service = shop.whmcs.client("order", pid=shop.product, domain="web1.example.com", pay=True)["serviceid"]
    shop.service.said["deliveries.pull"] = waiting = Waiting(item(service))
    shop.whmcs.cron()
    row = shop.whmcs.service(service)
    assert (row["username"], row["password"], row["dedicatedip"], row["assignedips"]) == (
        "root",
        'n&w"<p>',
        "192.0.2.10",
        "192.0.2.11",
    )
    assert len(shop.whmcs.mails(service)) == 1
    assert waiting.acked == [["d1"]]
    shop.whmcs.cron()
    assert waiting.acked == [["d1"]]


def test_lost_acknowledgement_mails_nothing_twice(shop: Shop) -> None:
    service = shop.hosting()
    shop.service.said["deliveries.pull"] = waiting = Waiting(item(service))
    waiting.lose = 2
    for _ in range(3):
        shop.whmcs.cron()
    assert waiting.acked == [["d1"]] * 3
    assert len(shop.whmcs.mails(service)) == 1
    assert len([line for line in shop.whmcs.activity() if "VM 4001 is there" in line]) == 1


def test_mail_whose_process_died_is_not_sent_again_but_told(shop: Shop) -> None:
    service = shop.hosting()
    shop.service.said["deliveries.pull"] = waiting = Waiting(item(service))
    with shop.whmcs.hook("add_hook('EmailPreLog', 9, function () { posix_kill(getmypid(), SIGKILL); });"):
        shop.whmcs.begin("cron").communicate(timeout=PATIENCE_S)
    assert len(shop.whmcs.mails(service)) == 1
    assert waiting.acked == []
    shop.whmcs.cron()
    assert len(shop.whmcs.mails(service)) == 1
    assert waiting.acked == [["d1"]]
    assert any("Resend Welcome Email" in line for line in shop.whmcs.activity())
    (told,) = shop.whmcs.rows("standin_notifications", identifier="provisioner.mail")
    assert f"Service {service}" in told["title"]


def test_refused_mail_is_tried_again_and_said_once(shop: Shop) -> None:
    service = shop.hosting()
    shop.service.said["deliveries.pull"] = waiting = Waiting(item(service))
    shop.sql("UPDATE tblemailtemplates SET disabled = 1")
    shop.whmcs.cron()
    shop.whmcs.cron()
    assert waiting.acked == []
    lines = [line for line in shop.whmcs.activity() if "Email Template is disabled" in line]
    assert len(lines) == 1
    assert "welcome_email" in lines[0]
    shop.sql("UPDATE tblemailtemplates SET disabled = 0")
    shop.whmcs.cron()
    assert len(shop.whmcs.mails(service)) == 1
    assert waiting.acked == [["d1"]]


def test_delivery_that_cannot_be_written_holds_back_its_service_only(shop: Shop) -> None:
    gone, there = 987654, shop.hosting()
    shop.service.said["deliveries.pull"] = waiting = Waiting(
        item(gone, "service.suspended", "a", reason="x"),
        item(there, "service.suspended", "b", status="suspended", reason="late"),
        item(gone, "service.unsuspended", "c"),
        item(there, "service.unsuspended", "d"),
    )
    shop.whmcs.cron()
    shop.whmcs.cron()
    assert waiting.acked == [["b", "d"]]
    assert shop.whmcs.status(there) == "Active"
    assert len([line for line in shop.whmcs.activity() if f"Service {gone} is not in WHMCS" in line]) == 1


@pytest.mark.parametrize("service_id", ["12x", "", "1; DROP", "99999999999"])
def test_service_that_is_no_number_touches_no_other(shop: Shop, service_id: str) -> None:
    shop.sql("DELETE FROM tblhosting WHERE id = 12")
    shop.hosting(id=12)
    bad = item(12, "service.terminated", "x", status="terminated")
    bad["data"]["service_id"] = service_id
    shop.service.said["deliveries.pull"] = waiting = Waiting(bad)
    shop.whmcs.cron()
    assert waiting.acked == []
    assert shop.whmcs.rows("standin_calls", action="UpdateClientProduct") == []


def test_many_deliveries_are_fetched_at_once_in_their_order(shop: Shop) -> None:
    service = shop.hosting()
    kinds = ("service.suspended", "service.unsuspended")
    items = [item(service, kinds[n % 2], f"n{n}", status=("suspended", "active")[n % 2]) for n in range(230)]
    shop.service.said["deliveries.pull"] = waiting = Waiting(*items)
    shop.whmcs.cron()
    assert [name for names in waiting.acked for name in names] == [f"n{n}" for n in range(230)]
    assert shop.whmcs.status(service) == "Active"


def test_write_that_whmcs_does_not_keep_is_no_success(shop: Shop) -> None:
    service = shop.hosting()
    shop.service.said["deliveries.pull"] = waiting = Waiting(item(service))
    shop.sql(
        "CREATE TRIGGER kept AFTER UPDATE OF dedicatedip ON tblhosting WHEN NEW.dedicatedip != '' "
        "BEGIN UPDATE tblhosting SET dedicatedip = '' WHERE id = NEW.id; END"
    )
    try:
        shop.whmcs.cron()
    finally:
        shop.sql("DROP TRIGGER kept")
    assert waiting.acked == []
    assert shop.whmcs.mails(service) == []
    assert any("does not show dedicatedip as written" in line for line in shop.whmcs.activity())


def test_masked_password_counts_as_written(shop: Shop) -> None:
    service = shop.hosting()
    shop.service.said["deliveries.pull"] = waiting = Waiting(item(service))
    shop.whmcs.set(StandInMasksPasswords="on")
    try:
        shop.whmcs.cron()
    finally:
        shop.whmcs.set(StandInMasksPasswords="")
    assert waiting.acked == [["d1"]]


def test_failures_of_one_operation_are_one_ticket(shop: Shop) -> None:
    service = shop.hosting()
    items = [item(service, kind, kind) for kind in ("operation.held", "operation.failed")]
    for one in items:
        one["data"] |= {
            "kind": "change",
            "error": {"code": "disk_smaller", "message": "The disk is smaller."},
        }
    shop.service.said["deliveries.pull"] = Waiting(*items, on_failure="ticket")
    shop.whmcs.cron()
    (ticket,) = shop.whmcs.rows("tbltickets")
    assert f"Service {service}" in ticket["title"]
    (note,) = shop.whmcs.rows("tblticketnotes")
    assert note["ticketid"] == ticket["id"]
    assert "disk_smaller" in note["message"]


def test_record_without_a_secret_is_not_asked(shop: Shop) -> None:
    service = shop.hosting()
    shop.service.said["deliveries.pull"] = waiting = Waiting(item(service))
    shop.record(id=shop.server, password="none")
    shop.record(password=SECRET)
    try:
        shop.whmcs.cron()
    finally:
        shop.record(id=shop.server, password=SECRET)
    assert waiting.acked == [["d1"]]


def test_record_that_takes_no_new_orders_is_asked_still(shop: Shop) -> None:
    service = shop.hosting()
    shop.service.said["deliveries.pull"] = waiting = Waiting(item(service))
    shop.sql("UPDATE tblservers SET disabled = 1")
    try:
        shop.whmcs.cron()
    finally:
        shop.sql("UPDATE tblservers SET disabled = 0")
    assert waiting.acked == [["d1"]]


def test_service_without_pull_is_asked_quietly(shop: Shop) -> None:
    shop.service.said["deliveries.pull"] = Answer.json(
        422, {"error": {"code": "unknown_type", "message": "?"}}
    )
    shop.whmcs.cron()
    assert shop.whmcs.activity() == []
    shop.service.said["deliveries.pull"] = UNREAD
    shop.whmcs.cron()
    shop.whmcs.cron()
    assert len([line for line in shop.whmcs.activity() if "could not be fetched" in line]) == 1
