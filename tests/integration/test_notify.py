"""Messages by Apprise to a real receiver, the heartbeat, and what of their addresses is never seen."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from provisioner import app as wiring
from provisioner.cli import run
from provisioner.config import fresh_secrets, starter
from provisioner.engine.heartbeat import Heartbeat
from provisioner.errors import NotSent, StoreUnavailable
from provisioner.logs import configure
from provisioner.machine import Disk
from provisioner.notify import Message, Urgency
from provisioner.notify.by_apprise import AppriseNotify
from provisioner.notify.heartbeat import HttpHeartbeat
from tests.conftest import World

HELLO = Message("A title", "Line <one>\nline *two*", Urgency.WARNING)

pytestmark = pytest.mark.usefixtures("logs_as_before")


class Receiver(ThreadingHTTPServer):
    """Whatever takes messages at an address; `status` is its answer, and it may hang until it is let go."""

    daemon_threads = True

    def __init__(self) -> None:
        self.status = 200
        self.calls: list[tuple[str, str, Any]] = []
        self.go = threading.Event()
        self.go.set()
        super().__init__(("127.0.0.1", 0), _Exchange)

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.server_port}"


class _Exchange(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.calls.append((self.command, self.path, json.loads(raw) if raw else None))
        self.server.go.wait(60)
        self.send_response(self.server.status)
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.go.set()
    server.shutdown()
    thread.join()
    server.server_close()


def test_message_arrives_as_it_is(receiver: Receiver) -> None:
    notify = AppriseNotify([f"json://{receiver.place}/a", f"json://{receiver.place}/b"])
    assert notify.addresses == ("1 (json)", "2 (json)")
    notify.send("2 (json)", HELLO)
    [(_, path, body)] = receiver.calls
    assert path == "/b"
    assert (body["title"], body["message"], body["type"]) == (HELLO.title, HELLO.body, "warning")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("json://user:canary@{place}/canary", "answered 404"),
        ("json://user:canary@127.0.0.1:1/canary", "it could not be reached, or refused the message"),
        ("nosuch://canary@{place}", "Apprise knows no such address: look with `provisioner check`"),
        ("json://user:canary@{place}/canary?format=canary", None),
    ],
)
def test_failure_says_why_and_nothing_of_the_address(
    receiver: Receiver,
    capfd: pytest.CaptureFixture[str],
    url: str,
    words: str | None,
) -> None:
    receiver.status = 404
    lines = io.StringIO()
    configure("debug", json=True, stream=lines)  # as --debug does, which knows no part of an address
    with pytest.raises(NotSent) as refusal:
        AppriseNotify([url.format(place=receiver.place)]).send(f"1 ({url.partition(':')[0]})", HELLO)
    assert words in (None, refusal.value.detail)
    said = capfd.readouterr()
    assert "canary" not in refusal.value.detail + said.out + said.err + lines.getvalue()


def test_hanging_address_is_left_in_time_and_not_called_twice(receiver: Receiver) -> None:
    receiver.go.clear()
    notify = AppriseNotify([f"json://{receiver.place}/"], patience_s=0.2)
    began_s = time.monotonic()
    with pytest.raises(NotSent, match="did not end within"):
        notify.send("1 (json)", HELLO)
    with pytest.raises(NotSent, match="has still not ended"):
        notify.send("1 (json)", HELLO)
    assert time.monotonic() - began_s < 30  # and not for the minute that it hangs
    receiver.go.set()
    until = time.monotonic() + 60
    while notify._busy and time.monotonic() < until:
        time.sleep(0.01)
    notify._patience_s = 60.0
    notify.send("1 (json)", HELLO)
    assert len(receiver.calls) == 2


def test_nothing_imports_apprise_until_a_message_is_sent() -> None:
    code = "import sys, provisioner.app, provisioner.cli; sys.exit('apprise' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_alert_reaches_a_real_receiver_once(worlds: Callable[..., World], receiver: Receiver) -> None:
    world = worlds(alerts={"urls": [f"json://{receiver.place}/phone"]})
    world.app.alerts.machine = lambda: Disk(free=1, size=100, store=1)
    for _ in range(3):
        world.app.alerts.look()
        world.app.alerts.tell()
    [(_, path, body)] = receiver.calls
    assert path == "/phone"
    assert body["title"] == "Urgent: Disk nearly full: 1% free"
    assert body["type"] == "failure"


def test_service_tells_by_itself(worlds: Callable[..., World], receiver: Receiver) -> None:
    """The ticks are wired: nobody calls anything here but `start`."""
    world = worlds(alerts={"urls": [f"json://{receiver.place}/phone"]})
    world.app.commands.pause("admin:anna", "")
    world.clock.advance(2 * 3600)
    wiring.begin(world.app)
    world.app.worker.start()
    try:
        until = time.monotonic() + 60
        while not receiver.calls and time.monotonic() < until:
            time.sleep(0.02)
    finally:
        world.app.worker.stop()
    assert [call[2]["title"] for call in receiver.calls] == ["The work is paused"]


# The heartbeat


@pytest.mark.parametrize(
    ("status", "words"),
    [(200, ""), (204, ""), (302, "answered 302, and only a 2xx counts"), (500, "answered 500")],
)
def test_heartbeat_counts_only_a_good_answer(receiver: Receiver, status: int, words: str) -> None:
    receiver.status = status
    call = HttpHeartbeat(f"http://{receiver.place}/ping/canary")
    if words:
        with pytest.raises(NotSent, match=words):
            call()
    else:
        call()
    assert receiver.calls == [("GET", "/ping/canary", None)]  # and nobody followed a redirect


def test_heartbeat_that_is_not_answered_says_nothing_of_the_address(receiver: Receiver) -> None:
    receiver.go.clear()
    for url in (f"http://{receiver.place}/canary", "http://127.0.0.1:1/canary"):
        with pytest.raises(NotSent) as refusal:
            HttpHeartbeat(url, timeout_s=0.2)()
        assert "canary" not in refusal.value.detail
        assert refusal.value.__cause__ is None


@pytest.fixture
def heart(worlds: Callable[..., World], receiver: Receiver) -> tuple[World, Heartbeat]:
    world = worlds(alerts={"heartbeat_url": f"http://{receiver.place}/ping"})
    world.app.alerts.machine = lambda: Disk(free=50, size=100, store=1)
    assert world.app.heartbeat is not None
    world.app.alerts.look()
    return world, world.app.heartbeat


def outcomes(world: World) -> dict[str, float]:
    return {
        sample.labels["outcome"]: sample.value
        for family in world.app.counts.families()
        for sample in family.samples
        if sample.name == "provisioner_heartbeats_total"
    }


def test_heart_beats_while_all_is_well(heart: tuple[World, Heartbeat], receiver: Receiver) -> None:
    world, heartbeat = heart
    heartbeat.beat()
    assert (len(receiver.calls), heartbeat.trouble, outcomes(world)) == (1, "", {"sent": 1})
    receiver.status = 500
    heartbeat.beat()
    assert outcomes(world) == {"sent": 1, "failed": 1}
    assert "answered 500" in heartbeat.trouble


def test_mild_alert_stops_no_heartbeat_and_a_severe_one_does(
    heart: tuple[World, Heartbeat], receiver: Receiver
) -> None:
    world, heartbeat = heart
    world.app.commands.pause("admin:anna", "")
    world.clock.advance(2 * 3600)
    world.app.alerts.look()
    assert [alert.name for alert in world.app.alerts.on()] == ["paused"]
    heartbeat.beat()
    assert len(receiver.calls) == 1
    world.app.alerts.machine = lambda: Disk(free=1, size=100, store=1)
    world.app.alerts.look()
    heartbeat.beat()
    assert (len(receiver.calls), heartbeat.trouble) == (1, "on: disk_low")
    assert outcomes(world) == {"sent": 1, "withheld": 1}


def test_late_tick_stops_the_heartbeat(heart: tuple[World, Heartbeat], receiver: Receiver) -> None:
    _, heartbeat = heart
    heartbeat.tick_age_s = lambda: 61.0
    heartbeat.beat()
    assert (receiver.calls, heartbeat.trouble) == ([], "the last tick is old")


def test_nobody_looking_stops_the_heartbeat(heart: tuple[World, Heartbeat], receiver: Receiver) -> None:
    world, heartbeat = heart
    world.clock.advance(121)
    heartbeat.beat()
    assert (receiver.calls, heartbeat.trouble) == ([], "nobody has looked for causes of late")


def test_unwritable_store_stops_the_heartbeat(
    heart: tuple[World, Heartbeat], receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, heartbeat = heart

    def full(unit: object) -> None:
        raise StoreUnavailable("the store cannot be written: the disk is full")

    monkeypatch.setattr(world.app.store, "write", full)
    heartbeat.beat()
    assert receiver.calls == []
    assert "disk is full" in heartbeat.trouble


def test_no_address_is_no_heartbeat(world: World) -> None:
    assert world.app.heartbeat is None
    assert "heartbeat" not in {tick.name for tick in world.app.worker.ticks}


# The commands


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "config.toml"
    file.write_text(
        starter(
            fresh_secrets(),
            listen="127.0.0.1:1",
            callback_url="http://127.0.0.1:1/",
            upstream_base_url="http://127.0.0.1:1/api",
            upstream_token="sandbox-token",
        )
    )
    file.chmod(0o600)
    return file


def add(config: Path, *urls: str) -> None:
    config.write_text(f"{config.read_text()}\n[alerts]\nurls = {json.dumps(urls)}\n")


def test_alerts_test_writes_to_each_and_says_who_took_it(
    config: Path, receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    add(config, f"json://{receiver.place}/canary", "json://127.0.0.1:1/canary")
    assert run(["alerts", "test", "--config", str(config), "--json"]) == 1
    told = capsys.readouterr()
    assert [(item["address"], item["sent"]) for item in json.loads(told.out)["items"]] == [
        ("1 (json)", True),
        ("2 (json)", False),
    ]
    assert [call[2]["title"] for call in receiver.calls] == ["Test message"]
    assert "canary" not in told.out + told.err
    assert sorted(path.name for path in config.parent.iterdir()) == ["config.toml"]  # no store was touched


def test_alerts_test_succeeds_where_all_took_it(
    config: Path, receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    add(config, f"json://{receiver.place}/")
    assert run(["alerts", "test", "--config", str(config)]) == 0
    assert capsys.readouterr().out.split() == ["sent", "1", "(json)"]


def test_alerts_test_with_nobody_to_tell_fails(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["alerts", "test", "--config", str(config)]) == 1
    assert "nobody to tell" in capsys.readouterr().err


def test_alerts_list_shows_what_was_seen_last(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from provisioner.config import load

    with closing(wiring.build(load(config, {}))) as app:
        app.alerts.machine = lambda: Disk(free=1, size=100, store=1)
        app.alerts.look()
    capsys.readouterr()
    assert run(["alerts", "list", "--config", str(config), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    [item] = found["items"]
    assert (item["cause"], item["severe"], item["count"]) == ("disk_low", True, 1)
    assert (found["seen_at"], found["waiting"], found["not_sent"]) == (None, 0, {})
    assert run(["alerts", "list", "--config", str(config)]) == 0
    told = capsys.readouterr()
    assert "disk_low" in told.out
    assert "does not run" in told.err
