"""What must not become slower unseen: ratios of processor time within one run, never a time.

How fast it is on a machine is for `make bench` to say.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

from flask import Flask, Response, request

from provisioner import app as wiring
from provisioner.operation import Kind, State
from provisioner.signing import Signer
from provisioner.store.sqlite import SqliteStore
from provisioner.store.verbs import _operation_row, _service_row
from provisioner.web import create_app
from tests.conftest import BILLING_SECRET, STARTS_AT, World
from tests.integration.store_conformance import NOW, a_service, an_operation

ROUNDS = 25
HOUR_MS = 3_600_000
FEW, MANY = 500, 20_000  # services
DUE = 20


def ratio(one: Callable[[], None], other: Callable[[], None]) -> float:
    """The processor time of one thing over that of another, in turns; the least of each, which is its own."""
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        for work, times in zip((one, other), taken, strict=True):
            began = time.process_time()
            work()
            times.append(time.process_time() - began)
    print(
        "RATIO",
        min(taken[0]) / min(taken[1]),
        [round(t * 1000, 1) for t in taken[0]],
        [round(t * 1000, 1) for t in taken[1]],
    )
    return min(taken[0]) / min(taken[1])


# Accepting

EACH = 8  # webhooks a round
# Without sockets and without others to share the commit an acceptance takes 8 to 12 times what its signature
# takes; twice that is no accident.
MOST_OF_VERIFYING = 15.0


def verifying() -> Flask:
    """What the receiver would be if it only verified."""
    app, signer = Flask("verifying"), Signer([BILLING_SECRET])

    @app.post("/webhooks/shop")
    def receive() -> Response:
        signer.verify(dict(request.headers), request.get_data(cache=False), STARTS_AT // 1000)
        return Response('{"ok": true}', 202, mimetype="application/json")

    return app


def webhooks() -> Iterator[dict[str, Any]]:
    """Requests as a server gives them to an application, each of another order."""
    signer = Signer([BILLING_SECRET])
    for number in count(1):
        data = {"service_id": str(number), "plan": "vps-s", "client": {"id": "7"}, "notes": "x" * 800}
        body = json.dumps({"type": "order.paid", "data": data}).encode()
        signed = signer.sign(f"evt-{number}", STARTS_AT // 1000, body)
        headers = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in signed.items()}
        yield {
            "REQUEST_METHOD": "POST", "SCRIPT_NAME": "", "PATH_INFO": "/webhooks/shop", "QUERY_STRING": "",
            "SERVER_NAME": "127.0.0.1", "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1", "CONTENT_TYPE": "application/json", "CONTENT_LENGTH": str(len(body)),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http", "wsgi.input": io.BytesIO(body), "wsgi.errors": io.StringIO(),
            "wsgi.multithread": True, "wsgi.multiprocess": False, "wsgi.run_once": False, **headers,
        }  # fmt: skip


def receiving(app: Flask) -> Callable[[], None]:
    """Has an application answer so many requests, which are made before."""
    requests = webhooks()
    ready = [next(requests) for _ in range(EACH * ROUNDS)]
    statuses: list[str] = []

    def receive() -> None:
        for _ in range(EACH):
            for _ in app(ready.pop(), lambda status, headers, *_: statuses.append(status)):  # type: ignore[arg-type,return-value]
                pass
        assert {status.split()[0] for status in statuses} == {"202"}

    return receive


def test_accepting_costs_a_few_times_its_signature(world: World) -> None:
    ours = create_app(wiring.surfaces(world.app))
    assert ratio(receiving(ours), receiving(verifying())) < MOST_OF_VERIFYING


def test_accepting_is_one_commit(world: World) -> None:
    """Each commit is a wait for the disk, which no processor time tells of."""
    writer = world.app.store._store._writer.raw  # type: ignore[attr-defined]  # of the store that is observed
    statements: list[str] = []
    writer.set_trace_callback(statements.append)
    world.order()
    writer.set_trace_callback(None)
    assert statements.count("COMMIT") == 1


# Claiming

MOST_OF_FEW = 2.5  # forty times as many rows, and an index more to descend


def filled(store: SqliteStore, services: int) -> None:
    """Each service has an operation that has ended, a few one that is due, one in a hundred one waiting."""
    ended = an_operation(kind=Kind.CREATE, state=State.SUCCEEDED)
    waits = an_operation(state=State.WAITING, next_run_at=NOW + HOUR_MS)
    _repeat(store, "services", _service_row(a_service()), range(services))
    _repeat(store, "operations", _operation_row(ended), range(services))
    _repeat(store, "operations", _operation_row(an_operation()), range(DUE))
    _repeat(store, "operations", _operation_row(waits), range(DUE, DUE + services // 100))


def _repeat(store: SqliteStore, table: str, row: dict[str, Any], services: range) -> None:
    """Gives each of these services such a row."""
    seq = f"n + 1 + (SELECT coalesce(max(seq), 0) FROM {table})"
    values = {name: f":{name}" for name in row} | {"service_id": "CAST(n AS TEXT)", "seq": seq}
    values |= {"id": f"CAST({seq} AS TEXT)"} if "id" in row else {}
    sql = (
        f"INSERT INTO {table} ({', '.join(values)}) WITH RECURSIVE numbers(n) AS "
        "(SELECT :first UNION ALL SELECT n + 1 FROM numbers WHERE n < :last) "
        f"SELECT {', '.join(values.values())} FROM numbers"
    )
    given = {**row, "first": services[0], "last": services[-1]}
    store.write(lambda verbs: verbs._engine.run(sql, given))


def claiming(store: SqliteStore) -> Callable[[], None]:
    """Claims what has been due longest, again and again: each lease is over at once."""
    moments = count(NOW)

    def claim() -> None:
        for _ in range(EACH):
            now = next(moments)
            assert store.write(lambda verbs, now=now: verbs.claim_operation(now, now)) is not None
            assert store.write(lambda verbs: verbs.claim_operation(0, 0)) is None

    return claim


def test_claim_costs_the_same_with_many_rows(tmp_path: Path) -> None:
    with closing(SqliteStore(tmp_path / "few.db")) as few, closing(SqliteStore(tmp_path / "many.db")) as many:
        filled(few, FEW)
        filled(many, MANY)
        assert ratio(claiming(many), claiming(few)) < MOST_OF_FEW
