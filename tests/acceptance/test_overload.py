"""More than it can take, and a store that breaks: said in words, nothing half-kept, over with its cause."""

from __future__ import annotations

import json
import re
import resource
import shutil
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from provisioner.cli.send import event
from provisioner.config import load
from provisioner.signing import sign
from tests.acceptance.forked import Forked

CRAMPED = Path(__file__).with_name("cramped.py")
BURST = 48
MOST_GROWTH_KB = 60 * 1024
WAITING_OPERATIONS = 100_000

Answer = tuple[int, Any, dict[str, str]]


def ask(
    site: Any, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
) -> Answer:
    """One call of the running service: status, JSON and headers."""
    place = load(site.config, {}).server.listen
    with closing(HTTPConnection(place, timeout=90)) as connection:
        connection.request(method, path, body, {"Content-Type": "application/json", **(headers or {})})
        answer = connection.getresponse()
        content = answer.read()
        return answer.status, json.loads(content or b"null"), dict(answer.getheaders())


def admin(site: Any, method: str, path: str) -> Answer:
    token = load(site.config, {}).security.admin_token.get_secret_value()
    return ask(site, method, path, headers={"Authorization": f"Bearer {token}"})


def order(site: Any, number: int) -> Answer:
    """Sends the order of that number, always under the same id."""
    body = json.dumps(event("order.paid", str(number), ["plan=vps-s"], time.time())).encode()
    secrets = [one.get_secret_value() for one in load(site.config, {}).billing["shop"].secrets]
    headers = sign(secrets, f"order-{number}", int(time.time()), body)
    return ask(site, "POST", "/webhooks/shop", body, headers)


def taken(site: Any, number: int) -> Answer | None:
    """The answer to an order that was accepted, now or before."""
    answer = order(site, number)
    return answer if answer[0] in (200, 202) else None


def readiness(site: Any) -> tuple[int, str]:
    status, answer, _ = ask(site, "GET", "/readyz")
    return status, json.dumps(answer)


def store_at(site: Any, folder: Path) -> Path:
    path = folder / "provisioner.db"
    site.add_settings(f'\n[store]\nurl = "sqlite:///{path}"\n')
    return path


def kept(path: Path) -> Counter[str]:
    """How many rows of each table belong to each webhook-id: an order that is kept wholly has one of each."""
    sql = """
        SELECT e.webhook_id, count(o.id) + count(s.seq) + count(t.at) AS parts
        FROM events e
        LEFT JOIN operations o ON o.id = e.operation
        LEFT JOIN services s ON s.service_id = e.service_id
        LEFT JOIN timeline t ON t.operation = o.id AND t.what = 'accepted'
        GROUP BY e.webhook_id
    """
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return Counter(dict(connection.execute(sql).fetchall()))


def rows(path: Path, table: str) -> int:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def burst(ask: Callable[[int], Answer]) -> dict[int, Answer]:
    """The answers to that many orders at once."""
    with ThreadPoolExecutor(BURST) as callers:
        return dict(enumerate(callers.map(ask, range(BURST))))


def test_burst_is_kept_or_refused(site: Any, eventually: Any, tmp_path: Path) -> None:
    stuck, path = tmp_path / "stuck", tmp_path / "provisioner.db"
    words = [str(stuck), "4", "2", "--config", str(site.config), "serve"]
    site._start([str(CRAMPED), *words])
    eventually(site._times_ready)
    assert admin(site, "POST", "/api/pause")[0] == 200

    def until_one_is_refused(number: int) -> Answer:
        answer = order(site, number)
        if answer[0] == 503:
            stuck.unlink(missing_ok=True)
        return answer

    stuck.touch()
    answers = burst(until_one_is_refused)
    statuses = Counter(status for status, _, _ in answers.values())
    assert statuses.keys() == {202, 503}, statuses
    assert all(int(headers["Retry-After"]) > 0 for status, _, headers in answers.values() if status == 503)
    there = kept(path)
    assert set(there.values()) == {3}  # operation, service, timeline: never a part alone
    told = {f"order-{number}" for number, (status, _, _) in answers.items() if status == 202}
    assert told <= there.keys()

    again = burst(lambda number: eventually(partial(taken, site, number)))
    assert {again[number][1]["operation"] for number in answers if answers[number][0] == 202} == {
        answer["operation"] for status, answer, _ in answers.values() if status == 202
    }
    assert (set(kept(path).values()), rows(path, "operations"), rows(path, "events")) == ({3}, BURST, BURST)


# A store that cannot be written


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own with little room, where one may be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m,mode=700", "tmpfs", str(folder)],
        capture_output=True,
        check=False,
    )
    if made.returncode:
        pytest.skip("no disk can be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Takes all the room that is left."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while file.write(b"x" * size):
                    pass
            except OSError:
                continue
    return filler


def refused_in_words(site: Any, eventually: Any, words: str) -> None:
    """An order is not taken, and `/readyz` says why."""
    status, answer, headers = order(site, 2)
    assert (status, "Retry-After" in headers) == (503, True)
    assert words in answer["error"]["message"]
    eventually(lambda: readiness(site)[0] == 503)
    assert words in readiness(site)[1]


def taken_again(site: Any, eventually: Any) -> None:
    """The same order is taken now, under the same id, and delivered; `/readyz` is content."""
    eventually(lambda: order(site, 2)[0] in (200, 202))
    eventually(lambda: readiness(site)[0] == 200)
    eventually(lambda: site.deliver_all("service.provisioned", "2"))
    assert len(site.deliver_all("service.provisioned", "2")) == 1


def test_full_disk_is_said_and_passes(site: Any, eventually: Any, small_disk: Path) -> None:
    store_at(site, small_disk)
    site.serve()
    assert order(site, 1)[0] == 202
    eventually(lambda: site.deliver_all("service.provisioned", "1"))

    filler = fill(small_disk)
    refused_in_words(site, eventually, "the disk is full: make room")
    filler.unlink()
    taken_again(site, eventually)


def test_failing_disk_is_said_and_passes(site: Any, eventually: Any, tmp_path: Path) -> None:
    """No root is needed: the process may write no file beyond its first byte."""
    served = site.serve()
    assert order(site, 1)[0] == 202
    eventually(lambda: site.deliver_all("service.provisioned", "1"))

    before = resource.prlimit(served.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(served.pid, resource.RLIMIT_FSIZE, (1, before[1]))
    refused_in_words(site, eventually, "the store cannot be written")
    resource.prlimit(served.pid, resource.RLIMIT_FSIZE, before)
    taken_again(site, eventually)


def make_full(folder: Path) -> Callable[[], None]:
    return fill(folder).unlink


def make_read_only(folder: Path) -> Callable[[], None]:
    remount(folder, "ro")
    return lambda: remount(folder, "rw")


def remount(folder: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(folder)], check=True)


@pytest.mark.parametrize(
    ("break_it", "there", "status", "words"),
    [
        (make_full, True, 1, "provisioner.db cannot be opened: (database or disk is full|disk I/O error)"),
        (make_read_only, True, 1, "cannot be opened: .* this user may write to it"),
        (make_full, False, 2, "provisioner.db.keys: cannot be used: No space left on device"),
        (make_read_only, False, 2, "provisioner.db.keys: cannot be used: Read-only file system"),
    ],
    ids=["full", "read-only", "full and new", "read-only and new"],
)
def test_unwritable_store_is_said_at_start(
    site: Any, small_disk: Path, break_it: Any, there: bool, status: int, words: str
) -> None:
    """The first thing that a new store needs is its key file, which counts as a setting."""
    store_at(site, small_disk)
    if there:
        served = site.serve()
        served.terminate()
        assert served.wait(90) == 0
    mend = break_it(small_disk)
    refused = site.run("serve")
    assert refused.returncode == status, refused.stderr
    assert re.search(words, refused.stderr), refused.stderr
    assert "Traceback" not in refused.stderr

    mend()
    site.serve()
    assert readiness(site)[0] == 200


def test_damaged_store_is_said_at_start(site: Any, eventually: Any, tmp_path: Path) -> None:
    """Put back whole, it knows what it had accepted."""
    path, copy = tmp_path / "provisioner.db", tmp_path / "copy.db"
    served = site.serve()
    assert order(site, 2)[0] == 202
    eventually(lambda: site.deliver_all("service.provisioned", "2"))
    served.terminate()
    assert served.wait(90) == 0

    shutil.copy(path, copy)
    path.write_bytes(path.read_bytes()[:100] + b"\x55" * 8092)
    refused = site.run("serve")
    assert (refused.returncode, "restore a backup" in refused.stderr) == (1, True), refused.stderr
    shutil.copy(copy, path)
    site.serve()
    assert order(site, 2)[0] == 200
    taken_again(site, eventually)


# Much that waits


def resident_kb(process: Forked) -> int:
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


def at_work(site: Any, eventually: Any) -> int:
    """Serves for some ticks, answers what is asked of it, and says how much memory that took, in KB."""
    served = site.serve()
    assert admin(site, "POST", "/api/pause")[0] == 200
    cursor = ""
    for _ in range(20):
        status, page, _ = admin(site, "GET", f"/api/operations?limit=500{cursor}")
        assert status == 200
        cursor = f"&cursor={page['next']}" if page["next"] else ""
        assert admin(site, "GET", "/api/services?limit=500&q=9")[0] == 200
        assert readiness(site)[0] == 200
    until = time.monotonic() + 2  # the ticks come once a second
    eventually(lambda: time.monotonic() > until)
    used = resident_kb(served)
    served.terminate()
    assert served.wait(90) == 0
    return used


def let_wait(path: Path, operations: int) -> None:
    """Puts so many operations into the store, of a tenth as many services."""
    args = json.dumps({"options": {"note": "x" * 200}})
    sql_services = """
        WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :services)
        INSERT INTO services SELECT 'shop', 'many-' || i, i + 1, 'active', 'vps-s', '', '', NULL, '[]', 0, '',
            '', '', 0, NULL, 0, 0 FROM n
    """
    sql_operations = """
        WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :operations)
        INSERT INTO operations SELECT 'op_' || i, i + 1, 'shop', 'many-' || (i % :services), 'start',
            'queued', 'begin', :args, '{}', 0, 1, 0, 0, 0, 0, NULL, :never, '', '', '', '', NULL,
            'billing:shop', '', '[]', 0, 0 FROM n
    """
    values = {"services": operations // 10, "operations": operations, "args": args, "never": 1 << 60}
    with closing(sqlite3.connect(path)) as connection, connection:
        for sql in (sql_services, sql_operations):
            connection.execute(sql, values)


def test_memory_stays_flat(site: Any, eventually: Any, tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "provisioner.db"
    empty = at_work(site, eventually)
    let_wait(path, WAITING_OPERATIONS)
    full = at_work(site, eventually)
    with capsys.disabled():
        print(
            f"\n{empty} KB with nothing waiting, {full} KB with {WAITING_OPERATIONS} operations", flush=True
        )
    assert full - empty < MOST_GROWTH_KB
