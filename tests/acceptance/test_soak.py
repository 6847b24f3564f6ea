"""Random lives under random faults and kills; then everything settles, and the judge looks at what is left.

`make soak` runs it for long, `make test` for a moment. `SOAK_SEED` repeats a run's choices, though not its
timing. Calls that are harmless to repeat are never carried out late here: a start that arrives after the stop
that was asked later cannot be told from somebody's hand.
"""

from __future__ import annotations

import base64
import json
import os
import random
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from provisioner.cli.send import event
from provisioner.store.postgres import PostgresStore
from provisioner.store.sqlite import SqliteStore
from tests.acceptance.forked import Forked
from tests.acceptance.judge import Evidence, Kept, judge, read_store

HASTY = str(Path(__file__).with_name("hasty.py"))
KEY = base64.urlsafe_b64encode(b"k" * 32).decode()
SECONDS = float(os.environ.get("SOAK_SECONDS", "6"))
SERVICES = 6
QUIET_S = 60.0  # lost creates are looked for one after the other; no lease runs out within it
STEP_S = (0.05, 0.2)
LATE_S = 1.4  # beyond the deadline of 1 s, and well within `settle`

SETTINGS = """\
[safety]
max_terminations_per_hour = 0
max_suspensions_per_hour = 0
max_creates_per_hour = 0
terminate_grace = 1
suspend_grace = 1

[retry]
first = 0.1
max = 1

[upstream]
exclusive = true
settle = 3
timeout = 1
job_poll = 0.5
"""
PLAN = {"cpu_cores": 1, "mem": 1024, "disk": "10G", "ip_count": 1}  # vps-s of the starter's settings

FAULTS: list[tuple[str, dict[str, Any]]] = [
    # the call is carried out
    ("drop_after", {}),
    ("truncate", {}),
    ("error_after", {}),
    ("page_after", {"status": 502}),
    ("slow", {"seconds": LATE_S}),
    ("trickle", {"seconds": LATE_S}),
    # it is not
    ("drop_before", {}),
    ("error", {}),
    ("page", {"status": 502}),
    ("rate_limit", {"retry_after": 1}),
    ("redirect", {"status": 307}),
]
LATE: list[tuple[str, dict[str, Any]]] = [("slow_before", {"seconds": LATE_S})]
TARGETS: list[tuple[str, str, list[tuple[str, dict[str, Any]]]]] = [
    ("POST", "/datacenter/server", LATE),
    ("PUT", "*/password/reset", LATE),
    ("PUT", "*/reinstall", LATE),
    ("PUT", "*/backups/create", []),
    ("POST", "*/delete", []),
    ("PUT", "*/change", []),
    ("PUT", "*/start", []),
    ("PUT", "*/stop", []),
    ("PUT", "*/shutdown", []),
    ("GET", "/job/*", []),
    ("GET", "/datacenter/server", []),
    ("GET", "*", []),
]
UNDONE = """
    SELECT (SELECT count(*) FROM deliveries WHERE state = 'waiting') + (
        SELECT count(*) FROM operations o WHERE state IN ('queued', 'running', 'waiting', 'delivering')
        AND NOT EXISTS (SELECT 1 FROM operations b WHERE b.service_id = o.service_id AND b.seq < o.seq
                        AND (b.state = 'held' OR (b.state = 'failed' AND b.kind = 'create'
                                                  AND o.kind <> 'terminate'))))
"""
STILL_THERE = "SELECT id FROM operations WHERE state = 'failed' AND error_code = 'still_there'"
WITHOUT_VM = """
    SELECT DISTINCT service_id FROM operations WHERE kind = 'create' AND state = 'failed'
    AND service_id NOT IN (SELECT service_id FROM operations WHERE state = 'held')
"""


@dataclass(slots=True)
class Life:
    """What the shop has asked for one service so far; disks and addresses only ever grow."""

    phase: str = "unborn"
    disk_gb: int = 10
    ips: int = 1
    ends: int = 0


class Soak:
    """A shop, an upstream and a service that live through it. All choices come from one seed."""

    def __init__(self, site: Any, seed: int, url: str = "") -> None:
        self.site = site
        self.url = url  # of the database; '' where the store is the embedded one
        self.random = random.Random(seed)
        self.lives = {str(1001 + number): Life() for number in range(SERVICES)}
        self.outbox: deque[tuple[str, bytes, dict[str, Any] | None]] = deque()
        self.asked: dict[str, dict[str, Any]] = {}
        self.accepted: set[str] = set()
        self.faults: set[str] = set()
        self.kills = 0
        self._sent = 0
        self._later: list[tuple[float, Callable[[], Any]]] = []
        self._process: Forked | None = None
        self._foreign = [site.sandbox.add_vm(), site.sandbox.add_vm(mem=2048, power="stopped")]

    def run(self, seconds: float) -> None:
        """Lives, breaks and kills for so long."""
        self._process = self._serve()
        until = time.monotonic() + seconds
        kill_at = time.monotonic() + self.random.uniform(1, 3)
        while time.monotonic() < until:
            self._break_something()
            self._live()
            self._post()
            if time.monotonic() >= kill_at:
                self._kill()
                kill_at = time.monotonic() + self.random.uniform(2, 6)
            self._restart()
            self._mend(time.monotonic())
            time.sleep(self.random.uniform(*STEP_S))

    def settle(self, eventually: Callable[..., Any]) -> None:
        """Ends all faults, lets everything come to rest, and asks again for what has no VM."""
        self._mend(float("inf"))
        self.site.sandbox.clear_faults()
        self.site.sandbox.settings(fail_next_job=None)
        self.site.shop.answer_with(204)
        for service_id in [key for key, life in self.lives.items() if life.phase == "living"]:
            if self.random.random() < 0.5:
                self._ask("service.unsuspend", service_id)
        eventually(self._is_posted)
        for _ in range(3):
            _wait(lambda: self._query(UNDONE)[0][0] == 0)
            self._retry_deletes()
            without = [row[0] for row in self._query(WITHOUT_VM)]
            for service_id in without:
                self._ask("order.paid", service_id, "plan=vps-s", "recreate=true", size=PLAN)
            eventually(self._is_posted)
        _wait(lambda: self._query(UNDONE)[0][0] == 0)
        assert self._process is not None
        self._process.terminate()
        assert self._process.wait(90) == 0

    def _retry_deletes(self) -> None:
        """As an operator does once the upstream takes deletes again: three that went wrong are the end."""
        for (operation,) in self._query(STILL_THERE):
            ran = self.site.run("operations", "retry", operation)
            assert ran.returncode == 0, ran.stderr
        _wait(lambda: self._query(UNDONE)[0][0] == 0)

    def evidence(self) -> Evidence:
        state = self.site.sandbox.state()
        with closing(PostgresStore(self.url) if self.url else SqliteStore(self._path)) as store:
            kept = read_store(store)
        return Evidence(
            kept=kept,
            vms={vm["vmid"]: vm for vm in state["vms"]},
            calls=self.site.sandbox.calls(),
            received=self.site.shop.deliveries,
            foreign=self._foreign,
            asked=self.asked,
            accepted=frozenset(self.accepted),
            faults=frozenset(self.faults),
        )

    def story(self, kept: Kept) -> str:
        """One service's operations and their timelines, for whoever looks for the reason."""
        lines = []
        for operation in kept.operations:
            lines.append(f"{operation.id} {operation.kind} {operation.state} {operation.error_code}")
            sql = "SELECT at, what, detail FROM timeline WHERE operation = ? ORDER BY position"
            lines += [f"  {at} {what} {detail}" for at, what, detail in self._query(sql, operation.id)]
        return "\n".join(lines)

    @property
    def _path(self) -> Any:
        return self.site.config.with_name("provisioner.db")

    def _query(self, sql: str, *values: str) -> list[Any]:
        if self.url:
            with psycopg.connect(self.url) as database:
                return database.execute(sql.replace("?", "%s").encode(), values).fetchall()
        with closing(sqlite3.connect(f"file:{self._path}?mode=ro", uri=True, timeout=5)) as connection:
            return connection.execute(sql, values).fetchall()

    # What the shop asks.

    def _live(self) -> None:
        service_id = self.random.choice(list(self.lives))
        life = self.lives[service_id]
        if life.phase == "unborn":
            self._order(service_id, life)
        elif life.phase == "ending":
            if len(self._ends(service_id)) > life.ends:
                self._order(service_id, life, "recreate=true")
        else:
            self._want(service_id, life)

    def _order(self, service_id: str, life: Life, *words: str) -> None:
        self.lives[service_id] = Life("living")
        self._ask("order.paid", service_id, "plan=vps-s", *words, size=PLAN)

    def _want(self, service_id: str, life: Life) -> None:
        kinds = {"upgrade": 5, "suspend": 2, "unsuspend": 3, "stop": 2, "start": 2, "order": 1}
        kinds |= {"reset_password": 3, "reinstall": 2, "backup": 1, "terminate": 1}
        match self.random.choices(list(kinds), list(kinds.values()))[0]:
            case "upgrade":
                self._upgrade(service_id, life)
            case "order":
                self._ask("order.paid", service_id, "plan=vps-s", size=PLAN)
            case "reset_password":  # which a VM that is off cannot
                self._ask("service.start", service_id)
                self._ask("service.reset_password", service_id)
            case "terminate":
                life.phase, life.ends = "ending", len(self._ends(service_id))
                self._ask("service.terminate", service_id)
            case kind:
                self._ask(f"service.{kind}", service_id)

    def _upgrade(self, service_id: str, life: Life) -> None:
        life.disk_gb += self.random.choice((0, 5))
        life.ips = min(3, life.ips + self.random.choice((0, 0, 1)))
        size = {
            "cpu_cores": self.random.randint(1, 4),
            "mem": self.random.choice((1024, 2048, 4096)),
            "disk": f"{life.disk_gb}G",
            "ip_count": life.ips,
        }
        words = [f"options.{name}={value}" for name, value in size.items()]
        self._ask("service.upgrade", service_id, *words, size=size)

    def _ends(self, service_id: str) -> set[str]:
        """The terminations that the shop was told of."""
        return {one.webhook_id for one in self.site.deliver_all("service.terminated", service_id)}

    def _ask(self, kind: str, service_id: str, *words: str, size: dict[str, Any] | None = None) -> None:
        self._sent += 1
        body = json.dumps(event(kind, service_id, list(words), time.time())).encode()
        self.outbox.append((f"soak-{self._sent}", body, size))

    def _post(self) -> None:
        """Sends what waits, in order, under the same id until it is answered."""
        while self.outbox:
            webhook_id, body, size = self.outbox[0]
            status, answer = self.site.post(body, webhook_id)
            if status in (0, 503):
                return
            self.outbox.popleft()
            if status in (200, 202):
                operation = json.loads(answer)["operation"]
                self.accepted.add(operation)
                if size is not None:
                    self.asked.setdefault(operation, size)
            else:
                assert status == 422, (status, answer)

    def _is_posted(self) -> bool:
        self._restart()
        self._post()
        return not self.outbox

    # What goes wrong.

    def _break_something(self) -> None:
        chance = self.random.random()
        if chance < 0.30:
            self._break_a_call()
        elif chance < 0.36:
            self._break_the_shop()
        elif chance < 0.40:
            self._break_a_while()

    def _break_a_call(self) -> None:
        method, path, late = self.random.choice(TARGETS)
        kind, more = self.random.choice([*FAULTS, *late])
        self.faults.add(kind)
        self.site.sandbox.fault(kind=kind, method=method, path=path, **more)

    def _break_the_shop(self) -> None:
        shop = self.site.shop
        match self.random.choice(("busy", "drop", "down")):
            case "busy":
                shop.answer_with(503, times=3, retry_after=1)
            case "drop":
                shop.drop(times=3)
            case "down":
                shop.go_down()
                self._in(0.5, shop.come_up)

    def _break_a_while(self) -> None:
        settings = self.site.sandbox.settings
        match self.random.choice(("token", "hang", "lag", "lag", "fail", "fail", "fail_after_vm")):
            case "token":
                self.faults.add("token_refused")
                settings(token_refused=True)
                self._in(0.8, lambda: settings(token_refused=False))
            case "hang":
                settings(hang_jobs=True)
                self._in(1.5, lambda: settings(hang_jobs=False))
            case "lag":
                self.faults.add("list_lag")
                settings(list_lag=1.0)
                self._in(2.0, lambda: settings(list_lag=0.0))
            case "fail":
                settings(fail_next_job={"after_vm": False})
            case "fail_after_vm":
                self.faults.add("fail_after_vm")
                settings(fail_next_job={"after_vm": True})

    def _in(self, seconds: float, mend: Callable[[], Any]) -> None:
        self._later.append((time.monotonic() + seconds, mend))

    def _mend(self, now: float) -> None:
        due = [mend for at, mend in self._later if at <= now]
        self._later = [(at, mend) for at, mend in self._later if at > now]
        for mend in due:
            mend()

    def _kill(self) -> None:
        """SIGKILL a moment from now, in the middle of whatever is going on then."""
        assert self._process is not None
        self.kills += 1
        killer = threading.Timer(self.random.uniform(0, 0.2), self._process.kill)
        killer.start()
        while killer.is_alive():
            self._live()
            self._post()
        killer.join()
        self._process.wait(90)

    def _restart(self) -> None:
        if self._process is None or self._process.poll() is not None:
            self._process = self._serve()

    def _serve(self) -> Forked:
        """On PostgreSQL a lease is no other's to end, so it is a short one."""
        process: Forked = self.site.serve(*([HASTY] if self.url else []))
        return process


def _wait(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + QUIET_S
    while not condition():
        assert time.monotonic() < until, f"it has not come to rest within {QUIET_S} s"
        time.sleep(0.1)


@pytest.mark.timeout(SECONDS + 4 * QUIET_S)
@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_nothing_is_lost_under_faults(
    site: Any, eventually: Any, capsys: Any, engine: str, request: pytest.FixtureRequest
) -> None:
    seed = int(os.environ.get("SOAK_SEED") or random.SystemRandom().randrange(1_000_000))
    with capsys.disabled():
        print(f"\nSOAK_SEED={seed} SOAK_SECONDS={SECONDS:g} on {engine}", flush=True)
    site.replace_setting("[upstream]\n", SETTINGS)
    url = request.getfixturevalue("postgres").empty() if engine == "postgresql" else ""
    if url:
        site.replace_setting("[security]\n", f'[security]\nencryption_keys = ["{KEY}"]\n')
        site.add_settings(f'\n[store]\nurl = "{url}"\n')
    site.sandbox.settings(job_queued=0.1, job_executing=0.3, shutdown_delay=0.2, backup_duration=0.5)
    soak = Soak(site, seed, url)
    soak.run(SECONDS)
    soak.settle(eventually)
    evidence = soak.evidence()
    wrong = judge(evidence)
    with capsys.disabled():
        counts = (len(soak.accepted), soak.kills, len(evidence.calls), len(evidence.received))
        print("{} operations, {} kills, {} calls, {} deliveries".format(*counts), flush=True)
        for kept in evidence.kept:
            # An orphan may be of any of them.
            if any(line.startswith((f"service {kept.service.service_id}:", "VM ")) for line in wrong):
                print(soak.story(kept))
    assert not wrong, f"SOAK_SEED={seed}\n" + "\n".join(wrong)
