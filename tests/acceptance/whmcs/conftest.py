"""A WHMCS with the drop-in in it, before a really served provisioner and a sandbox upstream.

The WHMCS is a stand-in in real PHP (`stand_in/whmcs.php`), written from WHMCS's documentation: cron runs are
processes of their own, clicks and API calls go through PHP's web server.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qs

import pytest
import requests

from provisioner.config import fresh_secrets
from provisioner.sandbox import BillingStub, Sandbox, SandboxServer
from provisioner.sandbox.faults import Faults
from provisioner.sandbox.wire import Answer, Exchange, Listener
from tests.acceptance.conftest import PATIENCE_S, Site, wait_until
from tests.acceptance.forked import Forked, ran
from tests.ports import free_port
from tests.processes import Group

HERE = Path(__file__).parent
PACKAGES = "php-cli php-curl php-sqlite3 php-illuminate-database smarty4 php-parser"
ACTIONS = [
    "UpdateClientProduct",
    "GetClientsProducts",
    "SendEmail",
    "LogActivity",
    "TriggerNotificationEvent",
    "OpenTicket",
    "AddTicketNote",
    "WhmcsDetails",
]
SYSTEM_URL = "https://billing.example.com/"
WELCOME = "New VPS Information"
API_SECRET = 'an API secret of WHMCS with & and "'
SETTINGS = """\
[server]
listen = "{listen}"
public_url = "http://{listen}"

[security]
admin_token = "{admin_token}"

[upstream]
base_url = "{upstream}"
token = "{token}"
job_poll = 0.5

[retry]
first = 0.2
max = 1

[safety]
terminate_grace = {grace}
suspend_grace = 0.2

[billing.whmcs]
platform = "whmcs"
secrets = ["{secret}"]
{way_back}

[plans.vps-s]
label = "Small"
template = "Debian10.0"
cpu_cores = 1
mem = 1024
disk = "10G"
ip_count = 1
max = {{ mem = 8192 }}

[plans.vps-m]
label = "Medium"
template = "Ubuntu20.04"
cpu_cores = 2
mem = 2048
disk = "20G"
ip_count = 2
templates = ["Ubuntu20.04", "Debian10.0"]
"""
PUSH = """\
api_url = "{api_url}"
identifier = "provisioner"
secret = {api_secret}
on_failure = "{on_failure}"
ticket_department = 1"""
PULL = """\
deliver = "pull"
on_failure = "{on_failure}"
ticket_department = 1"""


def missing() -> str:
    """What Debian has and this machine has not, in words; empty where all is there."""
    needs = "exit(extension_loaded('curl') && extension_loaded('pdo_sqlite') ? 0 : 1);"
    files = ("Illuminate/Database/autoload.php", "smarty4/Smarty.class.php", "PhpParser/autoload.php")
    if (
        shutil.which("php")
        and all(Path("/usr/share/php", name).exists() for name in files)
        and subprocess.run(["php", "-r", needs], check=False, timeout=PATIENCE_S).returncode == 0
    ):
        return ""
    return f"a real PHP is needed: apt install {PACKAGES}"


MISSING = missing()


@pytest.fixture(autouse=True, scope="session")
def _php() -> None:
    """Without PHP these tests are skipped; in CI they fail, or nobody would notice."""
    if MISSING and os.environ.get("CI") == "true":
        pytest.fail(MISSING)
    if MISSING:
        pytest.skip(MISSING)


@dataclass(frozen=True, slots=True)
class Call:
    """One call that came: the API's action or the event's type; of an event its id and its parts."""

    word: str
    webhook_id: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    source: Mapping[str, Any] = field(default_factory=dict)


class Front:
    """Stands before a server, as a proxy does: hands calls on, and can answer as badly as a sandbox can.

    A fault's path is the call's word.

    :param port: the server's.
    :param read: what a call is about, from its body.
    """

    def __init__(self, port: int, read: Callable[[bytes], Call]) -> None:
        self.faults = Faults()
        self.calls: list[Call] = []
        self._server = f"http://127.0.0.1:{port}"
        self._read = read
        self._listener = Listener(self._serve)
        self._listener.come_up()

    @property
    def url(self) -> str:
        return self._listener.url

    @property
    def port(self) -> int:
        return self._listener.port

    def ids(self, word: str) -> list[str]:
        """The webhook-ids of the calls about this, one a call."""
        return [call.webhook_id for call in self.calls if call.word == word]

    def count(self, word: str) -> int:
        """How often that was called, whatever was answered."""
        return len(self.ids(word))

    def events(self, service: int) -> list[Call]:
        """The events of a service that came, queries not."""
        return [
            call
            for call in self.calls
            if call.data.get("service_id") == str(service) and call.word != "service.show"
        ]

    def go_down(self) -> None:
        """Refuses connections."""
        self._listener.go_down()

    def come_up(self) -> None:
        self._listener.come_up()

    def close(self) -> None:
        self._listener.close()

    def _serve(self, exchange: Exchange) -> None:
        call = replace(self._read(exchange.body), webhook_id=exchange.headers.get("webhook-id", ""))
        self.calls.append(call)
        rule = self.faults.take(exchange.method, call.word)
        process = partial(self._handed_on, exchange)
        answer = rule.answer(exchange, process) if rule else process()
        if rule:
            rule.send(exchange, answer)
        else:
            exchange.send(answer)

    def _handed_on(self, exchange: Exchange) -> Answer:
        headers = {
            name: value for name, value in exchange.headers.items() if name not in ("host", "connection")
        }
        with _session() as session:
            url = self._server + exchange.path
            got = session.request(
                exchange.method,
                url,
                data=exchange.body,
                headers=headers,
                timeout=PATIENCE_S,
                allow_redirects=False,
            )
        return Answer(
            got.status_code, got.content, got.headers.get("Content-Type", ""), {"Date": got.headers["Date"]}
        )


def action_of(body: bytes) -> Call:
    return Call(parse_qs(body.decode()).get("action", [""])[0])


def event_of(body: bytes) -> Call:
    try:
        event = json.loads(body)
        return Call(event["type"], data=event["data"], source=event["source"])
    except (ValueError, KeyError, TypeError):
        return Call("")


def install(root: Path) -> None:
    """Puts the drop-in into a WHMCS, as resellers do."""
    (root / "modules" / "servers").mkdir(parents=True)
    words = ["-m", "provisioner", "hooks", "install", "whmcs", "--to", str(root)]
    ran(words, root.parent, PATIENCE_S).check_returncode()


class Whmcs:
    """The stand-in: its files, its database, its web server."""

    def __init__(self, root: Path, url: str = SYSTEM_URL) -> None:
        self.root = root
        shutil.copytree(HERE / "stand_in", root)
        install(root)
        self.cli("install", url=url)
        self.port = free_port()
        self._web = self._serving()
        self.front = Front(self.port, action_of)

    def cli(self, command: str, /, **arguments: Any) -> Any:
        """A run of PHP on the command line, as the system cron is."""
        return self.ended(self.begin(command, **arguments))

    def begin(self, command: str, /, **arguments: Any) -> subprocess.Popen[bytes]:
        """Starts such a run; `ended` waits for it."""
        words = ["php", "whmcs.php", command, json.dumps(arguments)]
        return subprocess.Popen(words, cwd=self.root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def ended(self, run: subprocess.Popen[bytes]) -> Any:
        said, _ = run.communicate(timeout=PATIENCE_S)
        return self._answer(said)

    def cron(self, **due: Any) -> Any:
        """The system cron, with services that are due to `suspend`, `unsuspend` or `terminate`."""
        return self.cli("cron", **due)["answers"]

    def click(self, command: str, /, **arguments: Any) -> Any:
        """What an admin does in a browser, or with `as` = client a customer."""
        return self._answer(self._asked(command, arguments))

    def client(self, command: str, /, **arguments: Any) -> Any:
        return self.click(command, **arguments, **{"as": "client"})

    def ended_page(self, command: str, /, **arguments: Any) -> str:
        """The page with which a request ended itself, as `check_token` does."""
        answer = json.loads(self._asked(command, arguments))
        assert set(answer) == {"ended"}, answer
        return str(answer["ended"])

    def rows(self, table: str, **where: Any) -> list[dict[str, Any]]:
        """The rows of a table, by columns, oldest first."""
        condition = " AND ".join(f'"{column}" = ?' for column in where) or "1"
        with closing(sqlite3.connect(self.root / "whmcs.sqlite", timeout=PATIENCE_S)) as database:
            database.row_factory = sqlite3.Row
            try:
                found = database.execute(f"SELECT * FROM {table} WHERE {condition}", list(where.values()))
            except sqlite3.OperationalError:
                return []  # a table that the module has not made yet
            return [dict(row) for row in found]

    def service(self, service: int) -> dict[str, Any]:
        """The service as its row says, with the password in the clear."""
        (row,) = self.rows("tblhosting", id=service)
        row["password"] = self.click("decrypted", text=row["password"])
        return row

    def status(self, service: int) -> str:
        (row,) = self.rows("tblhosting", id=service)
        return str(row["domainstatus"])

    def mails(self, service: int) -> list[str]:
        """The welcome mails that were sent to a service's client."""
        return [mail["body"] for mail in self.rows("standin_mails", name=WELCOME, relid=service)]

    def activity(self) -> list[str]:
        return [row["description"] for row in self.rows("tblactivitylog")]

    def set(self, **settings: str) -> None:
        self.click("set", **settings)

    @contextmanager
    def hook(self, php: str) -> Iterator[None]:
        """A hook file of the shop's own, for a while."""
        file = self.root / "includes" / "hooks" / "of_a_test.php"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"<?php\n{php}\n")
        try:
            yield
        finally:
            file.unlink()

    def complaints(self) -> str:
        """What the module did that it must not; asking forgets it."""
        file = self.root / "complaints.log"
        said = file.read_text() if file.exists() else ""
        file.unlink(missing_ok=True)
        return said

    def everything(self) -> dict[str, str]:
        """All that is kept anywhere, by table, but for what the client was sent."""
        with closing(sqlite3.connect(self.root / "whmcs.sqlite", timeout=PATIENCE_S)) as database:
            names = [
                row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            ]
        return {
            name: repr(self.rows(name))
            for name in names
            if name not in ("standin_mails", "standin_credentials")
        }

    def close(self) -> None:
        self.front.close()
        self._web.end()

    def _asked(self, command: str, arguments: Mapping[str, Any]) -> bytes:
        with _session() as session:
            url = f"http://127.0.0.1:{self.port}/whmcs.php"
            return session.post(url, data=json.dumps([command, arguments]), timeout=PATIENCE_S).content

    def _answer(self, said: bytes) -> Any:
        try:
            answer = json.loads(said)
        except ValueError:
            raise AssertionError(said.decode()) from None
        assert "answer" in answer, answer
        assert "printed" not in answer, answer
        return answer["answer"]

    def _serving(self) -> Group:
        words = [
            "php",
            "-d",
            "opcache.revalidate_freq=0",
            "-S",
            f"127.0.0.1:{self.port}",
            "-t",
            str(self.root),
        ]
        with (self.root / "web.log").open("wb") as log:
            web = Group(words, stdout=log, stderr=log, env={**os.environ, "PHP_CLI_SERVER_WORKERS": "3"})
        try:
            wait_until(lambda: _answers(self.port))
        except BaseException:
            web.end()
            raise
        return web


def _session() -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    return session


def _answers(port: int) -> bool:
    try:
        with _session() as session:
            return session.get(f"http://127.0.0.1:{port}/configuration.php", timeout=PATIENCE_S).ok
    except requests.ConnectionError:
        return False


class Installation(Site):
    """A reseller's whole set-up: WHMCS with a server record and a product, provisioner, the upstream."""

    def __init__(
        self, folder: Path, upstream: SandboxServer, *, deliver: str, grace: float, on_failure: str
    ) -> None:
        self.whmcs = Whmcs(folder / "whmcs")
        self.deliver = deliver
        fresh = fresh_secrets()
        self.admin_token, self.secret = fresh.admin_token, fresh.webhook_secret
        port = free_port()
        self.address = f"127.0.0.1:{port}"
        self.gate = Front(port, event_of)
        back = (PUSH if deliver == "push" else PULL).format(
            api_url=f"{self.whmcs.front.url}/includes/api.php",
            api_secret=json.dumps(API_SECRET),
            on_failure=on_failure,
        )
        settings = SETTINGS.format(
            listen=self.address,
            admin_token=self.admin_token,
            upstream=upstream.base_url,
            token=upstream.sandbox.settings()["token"],
            grace=grace,
            secret=self.secret,
            way_back=back,
        )
        super().__init__(folder, upstream, cast(BillingStub, self.whmcs), settings)
        self.process: Forked | None = None
        self._set_up()

    def _set_up(self) -> None:
        self.server = self.record(username="whmcs", password=self.secret)
        self.whmcs.click("client")
        self.product = self.sell("vps-s")
        self.whmcs.click("credential", identifier="provisioner", secret=API_SECRET, actions=ACTIONS)

    def record(self, **fields: Any) -> int:
        """A server record of WHMCS that leads here; with `id` that one is changed."""
        given = {
            "type": "provisioner",
            "name": "provisioner",
            "hostname": "127.0.0.1",
            "port": self.gate.port,
        }
        return int(self.whmcs.click("server", **{**given, **fields}))

    def sell(self, plan: str, template: str = "", **fields: Any) -> int:
        """A new product with this plan and the welcome mail that a shop would choose by mistake."""
        product = self.whmcs.click(
            "product",
            name=f"VPS {plan}",
            servertype="provisioner",
            servergroup=1,
            welcomeemail=1,
            configoption1=plan,
            configoption2=template,
            **fields,
        )
        self.whmcs.click("save_product", pid=product)
        return int(product)

    def option(self, product: int, name: str, choices: tuple[str, ...] = (), kind: str = "dropdown") -> Any:
        """A configurable option: its id and its choices' ids."""
        given = {"choices": list(choices)} if choices else {}
        made = self.whmcs.click("option", pid=product, name=name, type=kind, **given)
        return made["option"], made["choices"] if choices else {}

    def start(self) -> None:
        self.process = self.serve()

    def stop(self) -> None:
        assert self.process is not None
        self.process.terminate()
        assert self.process.wait(PATIENCE_S) == 0

    def a_minute_later(self) -> None:
        """Lets the pause after a failed connection be over; the module keeps its end by the wall clock."""
        with (
            closing(sqlite3.connect(self.whmcs.root / "whmcs.sqlite", timeout=PATIENCE_S)) as database,
            database,
        ):
            if database.execute(
                "SELECT 1 FROM sqlite_master WHERE name = 'mod_provisioner_facts'"
            ).fetchone():
                database.execute("UPDATE mod_provisioner_facts SET value = '1' WHERE name LIKE 'rests:%'")

    def comes_back(self) -> None:
        """Provisioner can be reached again, and WHMCS's cron runs."""
        self.gate.faults.clear()
        self.gate.come_up()
        self.a_minute_later()
        self.whmcs.cron()

    def order(self, product: int = 0, **order: Any) -> int:
        """An order that is paid at once; the service's id."""
        return self.ordered(product, **order)[0]

    def ordered(self, product: int = 0, **order: Any) -> tuple[int, int, str]:
        """The same: service, order, and what the module said."""
        order = {"domain": "web1.example.com", **order}
        placed = self.whmcs.client("order", pid=product or self.product, pay=True, **order)
        return placed["serviceid"], placed["orderid"], placed["answer"]

    def created(self, product: int = 0, **order: Any) -> int:
        """An order whose server is there and whose credentials are in WHMCS."""
        service, _, answer = self.ordered(product, **order)
        assert answer == "success"
        self.told(lambda: self.whmcs.mails(service))
        return service

    def act(self, service: int, verb: str, **more: Any) -> str:
        """A module command of an admin: what the module said."""
        return str(self.whmcs.click("act", service=service, verb=verb, more=more))

    def done(self, service: int, verb: str, **more: Any) -> None:
        answer = self.act(service, verb, **more)
        assert answer == "success", answer

    def told(self, condition: Callable[[], Any]) -> Any:
        """Waits for something in WHMCS; with pull, its cron runs meanwhile."""
        until = time.monotonic() + float(os.environ.get("PATIENCE", PATIENCE_S))
        while time.monotonic() < until:
            if self.deliver == "pull":
                self.whmcs.cron()
            if found := condition():
                return found
            time.sleep(0.05)
        raise AssertionError(f"not within {PATIENCE_S} s; {self.said.read_text()[-3000:]}")

    def vm(self, service: int) -> dict[str, Any]:
        """The VM of a service, as the upstream has it."""
        vmid = self.shown(service)["vmid"]
        (found,) = [vm for vm in self.sandbox.state()["vms"] if vm["vmid"] == vmid]
        return {**found, **found["config"]}

    def api(self, method: str, path: str, **body: Any) -> Any:
        """A call of provisioner's admin API."""
        with _session() as session:
            answer = session.request(
                method,
                f"http://{self.address}/api/{path}",
                json=body or None,
                headers={"Authorization": f"Bearer {self.admin_token}"},
                timeout=PATIENCE_S,
            )
        assert answer.ok, answer.text
        return answer.json()

    def shown(self, service: int) -> dict[str, Any]:
        """The service as provisioner has it."""
        return dict(self.api("GET", f"services/whmcs/{service}"))

    def operations(self, service: int) -> list[dict[str, Any]]:
        """The operations of a service, oldest first."""
        return list(reversed(self.api("GET", f"operations?service_id={service}")["items"]))

    def kinds(self, service: int) -> list[str]:
        return [one["kind"] for one in self.operations(service)]

    def last(self, service: int) -> Call:
        """The last event of a service."""
        return self.gate.events(service)[-1]

    def sent(self, service: int) -> list[str]:
        """The types of a service's events so far."""
        return [call.word for call in self.gate.events(service)]

    def over(self, service: int) -> bool:
        """Whether nothing is done upstream for a service any more; what is to be told may wait."""
        return not {"queued", "running", "waiting"} & {one["state"] for one in self.operations(service)}

    def settled(self, service: int) -> None:
        wait_until(lambda: self.over(service))

    def stands(self, service: int, status: str) -> None:
        """Waits until provisioner says so of a service."""
        wait_until(lambda: self.shown(service)["status"] == status)

    def right_credentials(self, service: int, read: Callable[[str], str] = str) -> None:
        """WHMCS has the credentials that open the VM, and its addresses; `read` undoes how it spells them."""
        row, vm = self.whmcs.service(service), self.vm(service)
        assert row["username"] == "root"
        assert read(row["password"]) == vm["password"]
        assert row["dedicatedip"] == vm["ips"][0]
        assert row["assignedips"].split() == vm["ips"][1:]

    def close(self) -> None:
        super().close()
        self.gate.close()
        self.whmcs.close()


def awkward_passwords() -> Callable[[], str]:
    """Passwords that come apart wherever someone encodes or trims them once too often."""
    numbers = count(1)
    return lambda: f"a&amp;b<i>\"{next(numbers)}' ü %41+\\n{{$x}}"


Make = Callable[..., Installation]


@contextmanager
def installations(folder: Path) -> Iterator[Make]:
    """Makes set-ups that serve already; the sandbox issues awkward passwords."""
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr("provisioner.sandbox.upstream.new_password", awkward_passwords())
        numbers = count(1)
        all_made: list[Installation] = []

        def make(
            deliver: str = "push", *, grace: float = 0.5, on_failure: str = "notify", serve: bool = True
        ) -> Installation:
            sandbox = Sandbox(
                job_queued=0.05,
                job_executing=0.1,
                shutdown_delay=0.05,
                backup_duration=0.2,
                restore_duration=0.2,
            )
            upstream = stack.enter_context(SandboxServer(sandbox))
            place = folder / f"{deliver}-{next(numbers)}"
            place.mkdir()
            made = Installation(place, upstream, deliver=deliver, grace=grace, on_failure=on_failure)
            stack.enter_context(closing(made))
            all_made.append(made)
            if serve:
                made.start()
            return made

        yield make
        for made in all_made:
            assert made.whmcs.complaints() == ""


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Set-ups of this test's own."""
    with installations(tmp_path) as making:
        yield making


@pytest.fixture(scope="module")
def make_shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Make]:
    """Set-ups that the tests of a file share: each test has services of its own."""
    with installations(tmp_path_factory.mktemp("whmcs")) as making:
        yield making
