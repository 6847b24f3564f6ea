"""Two services on one PostgreSQL under load: killed, frozen beyond their leases, cut off, the database gone
and back.

Nothing that was accepted is lost, no service has two VMs, and the last password delivered is the one that
works (contract, promise 9).
"""

from __future__ import annotations

import base64
import itertools
import json
import random
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from provisioner.cli.send import event
from provisioner.config import fresh_secrets, load, starter
from provisioner.operation import ENDS
from provisioner.sandbox import BillingStub, Sandbox, SandboxServer
from provisioner.store.postgres import PostgresStore
from provisioner.store.verbs import Verbs
from tests.acceptance.conftest import Site, free_port
from tests.acceptance.hasty import LEASE_MS
from tests.acceptance.judge import Evidence, judge, read_store
from tests.postgres import Postgres
from tests.relay import RESET, SWALLOWED, Relay

HASTY = str(Path(__file__).with_name("hasty.py"))
REST_S = 60.0
ANSWERS_WITHIN_S = 13.0  # ten are promised
SELLERS = 3  # each waits for its answer, also of a node that is frozen
EVERY_S = 0.3  # between two orders of each
PLAN = {"cpu_cores": 1, "mem": 1024, "disk": "10G", "ip_count": 1}
SETTINGS = """\
[retry]
first = 0.1
max = 1

[safety]
max_creates_per_hour = 0
suspend_grace = 1

[upstream]
exclusive = true
settle = 2
timeout = 1
job_poll = 0.5
"""


class Cluster:
    """Two nodes, a shop, an upstream, and somebody who sends orders for as long as it is told to."""

    def __init__(self, sites: list[Site], url: str) -> None:
        self.sites = sites
        self.url = url
        self.processes: list[subprocess.Popen[bytes]] = [site.serve(HASTY) for site in sites]
        self.asked: dict[str, dict[str, Any]] = {}
        self.accepted: set[str] = set()
        self._numbers = itertools.count(1001)
        self._stopping = threading.Event()
        self._sellers = [threading.Thread(target=self._sell) for _ in range(SELLERS)]

    def start(self) -> None:
        for seller in self._sellers:
            seller.start()

    def end_sales(self) -> None:
        self._stopping.set()
        for seller in self._sellers:
            seller.join()

    def restart(self, number: int) -> None:
        self.processes[number] = self.sites[number].serve(HASTY)

    def delivered(self) -> int:
        shop = self.sites[0].shop
        return len({one.webhook_id for one in shop.deliveries if one.accepted})

    def _sell(self) -> None:
        """Asks, each time under one id of one node after the other until it is taken."""
        while not self._stopping.wait(EVERY_S):
            service_id = str(next(self._numbers))
            self._send("order.paid", service_id, "plan=vps-s", size=PLAN)
            if int(service_id) % 3 == 0:
                size = {**PLAN, "mem": 2048}
                self._send("service.upgrade", service_id, "options.mem=2048", size=size)
            if int(service_id) % 4 == 0:
                self._send("service.suspend", service_id)

    def _send(self, kind: str, service_id: str, *words: str, size: dict[str, Any] | None = None) -> None:
        body = json.dumps(event(kind, service_id, list(words), time.time())).encode()
        for site in itertools.cycle(random.sample(self.sites, len(self.sites))):
            status, answer = site.post(body, f"{kind}-{service_id}")
            if status in (200, 202):
                break
            assert status in (0, 503), (status, answer)
            time.sleep(0.05)
        operation = json.loads(answer)["operation"]
        self.accepted.add(operation)
        if size is not None:
            self.asked[operation] = size

    def evidence(self) -> Evidence:
        with closing(PostgresStore(self.url)) as store:
            kept = read_store(store)
        upstream = self.sites[0].sandbox
        return Evidence(
            kept=kept,
            vms={vm["vmid"]: vm for vm in upstream.state()["vms"]},
            calls=upstream.calls(),
            received=self.sites[0].shop.deliveries,
            foreign=[],
            asked=self.asked,
            accepted=frozenset(self.accepted),
            faults=frozenset(),
        )

    def open_work(self) -> int:
        """What is neither done nor told."""
        with closing(PostgresStore(self.url)) as store:
            operations, deliveries = store.read(
                lambda verbs: (verbs.count_operations(), verbs.count_deliveries())
            )
        ended = ("succeeded", "failed", "cancelled")
        return sum(count for state, count in operations.items() if state not in ended) + deliveries.get(
            "waiting", 0
        )


@contextmanager
def a_cluster(folder: Path, url: str, line: str = "") -> Iterator[Cluster]:
    """Two nodes on one database, the first of them over a line of its own, where one is given."""
    fresh, sandbox = fresh_secrets(), Sandbox(job_queued=0.1, job_executing=0.3)
    sandbox.settings(shutdown_delay=0.2)
    key = base64.urlsafe_b64encode(b"k" * 32).decode()
    with SandboxServer(sandbox) as upstream, BillingStub([fresh.webhook_secret]) as shop:
        sites = []
        for name, place in (("one", line or url), ("two", url)):
            listen = f"127.0.0.1:{free_port()}"
            settings = starter(
                fresh,
                listen=listen,
                public_url=f"http://{listen}",
                callback_url=shop.callback_url,
                upstream_base_url=upstream.base_url,
                upstream_token=sandbox.settings()["token"],
            )
            settings = settings.replace("[security]\n", f'[security]\nencryption_keys = ["{key}"]\n')
            settings = settings.replace("[upstream]\n", SETTINGS) + f'\n[store]\nurl = "{place}"\n'
            (folder / name).mkdir()
            sites.append(Site(folder / name, upstream, shop, settings))
        with closing(sites[0]), closing(sites[1]):
            cluster = Cluster(sites, url)
            yield cluster
            cluster._stopping.set()


@pytest.fixture
def cluster(tmp_path: Path, postgres: Postgres) -> Iterator[Cluster]:
    with a_cluster(tmp_path, postgres.empty()) as made:
        yield made


@pytest.fixture
def relay(postgres: Postgres) -> Iterator[Relay]:
    with closing(Relay(postgres.socket)) as made:
        yield made


@pytest.fixture
def relayed(tmp_path: Path, postgres: Postgres, relay: Relay) -> Iterator[Cluster]:
    url = postgres.empty()
    with a_cluster(tmp_path, url, relay.to(url)) as made:
        yield made


def comes_to_rest(cluster: Cluster) -> None:
    until = time.monotonic() + REST_S
    while cluster.open_work():
        assert time.monotonic() < until, f"it has not come to rest within {REST_S} s"
        time.sleep(0.2)


def goes_on(cluster: Cluster, count: int = 5) -> None:
    """So many more messages reach the shop."""
    before, until = cluster.delivered(), time.monotonic() + REST_S
    while cluster.delivered() < before + count:
        assert time.monotonic() < until, "the work stands still"
        time.sleep(0.02)


def kill_one(cluster: Cluster, postgres: Postgres) -> None:
    cluster.processes[0].kill()
    cluster.processes[0].wait(30)
    goes_on(cluster)
    cluster.restart(0)


def freeze_one(cluster: Cluster, postgres: Postgres) -> None:
    """Beyond its leases: what it had is another's when it goes on."""
    cluster.processes[1].send_signal(signal.SIGSTOP)
    frozen_at = time.monotonic()
    goes_on(cluster)
    time.sleep(max(0.0, frozen_at + 1.5 * LEASE_MS / 1000 - time.monotonic()))
    cluster.processes[1].send_signal(signal.SIGCONT)


def restart_database(cluster: Cluster, postgres: Postgres) -> None:
    postgres.stop()
    time.sleep(1.0)  # long enough for everybody to notice
    postgres.start()


TROUBLES: dict[str, Callable[[Cluster, Postgres], None]] = {
    "one is killed": kill_one,
    "one is frozen": freeze_one,
    "the database restarts": restart_database,
}


@pytest.mark.timeout(300)
def test_two_nodes_lose_nothing(
    cluster: Cluster, postgres: Postgres, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.start()
    goes_on(cluster)
    for name, trouble in TROUBLES.items():
        trouble(cluster, postgres)
        goes_on(cluster)
        assert all(process.poll() is None for process in cluster.processes), name
    all_is_well(cluster, capsys)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("how", [SWALLOWED, pytest.param(RESET, marks=pytest.mark.long)])
def test_node_that_is_cut_off_loses_nothing(
    relayed: Cluster, relay: Relay, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    relayed.start()
    goes_on(relayed)
    begun = set(relayed.accepted)
    relay.cut(how)
    says_that_it_is_cut_off(relayed.sites[0])
    ends(relayed, begun)  # also what the one that is cut off had begun
    assert status_of(relayed.sites[1]) == 200
    relay.mend()
    takes_orders_again(relayed.sites[0])
    goes_on(relayed)
    all_is_well(relayed, capsys)


def says_that_it_is_cut_off(site: Site) -> None:
    """At once, whatever it is asked: within its promise, and what a busy machine adds."""
    with ThreadPoolExecutor(3) as callers:
        began = time.monotonic()
        asked = [callers.submit(ask, site) for ask in (status_of, status_of_an_order, status_of_an_order)]
        assert [answer.result() for answer in asked] == [503, 503, 503]
        assert time.monotonic() - began < ANSWERS_WITHIN_S
    assert status_of(site) == 503


def status_of(site: Site) -> int:
    """Of what a load balancer asks."""
    try:
        with urllib.request.urlopen(
            f"http://{load(site.config, {}).server.listen}/readyz", timeout=REST_S
        ) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def status_of_an_order(site: Site) -> int:
    """Of one for which there is no plan: nobody works on it."""
    body = json.dumps(event("order.paid", "unknown", ["plan=none"], time.time())).encode()
    return site.post(body, "order-unknown")[0]


def ends(cluster: Cluster, begun: set[str]) -> None:
    """What was accepted before is done, though one of them never comes back to it."""
    until = time.monotonic() + REST_S
    with closing(PostgresStore(cluster.url)) as store:
        while left := [
            name for name in begun if not store.read(lambda verbs, name=name: is_over(verbs, name))
        ]:  # type: ignore[misc]
            assert time.monotonic() < until, f"{left} have not ended"
            time.sleep(0.1)


def is_over(verbs: Verbs, name: str) -> bool:
    operation = verbs.operation(name)
    return operation is not None and operation.state in ENDS


def takes_orders_again(site: Site) -> None:
    until = time.monotonic() + ANSWERS_WITHIN_S
    while (status_of(site), status_of_an_order(site)) != (200, 422):
        assert time.monotonic() < until, "it has not come back by itself"
        time.sleep(0.1)


def all_is_well(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    """Everything ends, the nodes too, and the judge finds nothing."""
    cluster.end_sales()
    comes_to_rest(cluster)
    for process in cluster.processes:
        process.terminate()
    assert [process.wait(30) for process in cluster.processes] == [0, 0]
    evidence = cluster.evidence()
    wrong = judge(evidence)
    with capsys.disabled():
        counts = (len(cluster.accepted), len(evidence.calls), len(evidence.received))
        print("\n{} operations, {} calls, {} deliveries on two nodes".format(*counts), flush=True)
    assert not wrong, "\n".join(wrong)
    assert len(evidence.vms) == len(evidence.kept)
