"""What a life leaves in the audit, and that no line of it is altered, added or removed unseen."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from provisioner.audit import Deed
from provisioner.engine.audit import verify
from provisioner.operation import State
from provisioner.store.backup import copy_store, put_back
from provisioner.store.sqlite import SqliteStore


def lines(world: Any, **filters: Any) -> list[tuple[str, str, int | None]]:
    """Action, actor and VM of each line, oldest first."""
    found = world.app.store.read(lambda verbs: verbs.audit(500, None, **filters))
    return [(line.action, line.actor, line.vmid) for line in reversed(found)]


def act(world: Any, operation: str, what: str, *words: Any) -> None:
    getattr(world.app.commands, what)(operation, "admin:anna", *words)


# What is written down


def test_life_of_a_vm_is_told_by_its_vmid(world: Any) -> None:
    world.done(world.order())
    vmid = world.service().vmid
    world.done(world.event("service.reinstall"))
    world.event("service.terminate")
    world.run(90_000)
    assert world.vmids() == []
    assert lines(world, vmid=vmid) == [
        ("create.done", "service", vmid),
        ("reinstall.accepted", "billing:shop", vmid),
        ("reinstall.done", "service", vmid),
        ("terminate.accepted", "billing:shop", vmid),
        ("terminate.done", "service", vmid),
    ]
    (first, *_) = lines(world)
    assert first == ("create.accepted", "billing:shop", None)


def test_end_says_who_asked_for_it(world: Any) -> None:
    order = world.done(world.order())
    done = world.app.store.read(lambda verbs: verbs.audit(1, None))[0]
    assert (done.operation, done.address, done.facts) == (order.id, "", {"asked_by": "billing:shop"})


def test_order_for_what_is_there_makes_nothing(world: Any) -> None:
    world.done(world.order())
    world.done(world.order())
    assert [action for action, *_ in lines(world)].count("create.done") == 1


def test_what_is_given_up_is_told(world: Any) -> None:
    world.sandbox.fault(kind="error", error="0xb1: wrong", path="/datacenter/server", method="POST")
    failed = world.done(world.order())
    assert failed.state is State.FAILED
    found = world.app.store.read(lambda verbs: verbs.audit(1, None))[0]
    assert (found.action, found.actor, found.facts["code"]) == ("create.failed", "service", "0xb1")


def test_undone_terminate_is_told(world: Any) -> None:
    world.done(world.order())
    vmid = world.service().vmid
    terminate = world.event("service.terminate")
    world.run(60)
    act(world, terminate, "cancel", "a mistake")
    world.run(60)
    assert lines(world)[2:] == [
        ("terminate.accepted", "billing:shop", vmid),
        ("terminate.cancelled", "admin:anna", vmid),
        ("unsuspend.accepted", "admin:anna", vmid),
    ]
    reasons = [line.reason for line in world.app.store.read(lambda verbs: verbs.audit(2, None))]
    assert reasons == ["a mistake", "a mistake"]


def test_stopped_again_is_told(world: Any) -> None:
    world.done(world.order())
    world.done(world.event("service.suspend"))
    vmid = world.service().vmid
    world.app.upstream.start(vmid)
    world.clock.advance(60)
    world.app.reconcile.tick()
    assert lines(world)[-1] == ("vm.stopped", "service", vmid)


def test_restored_store_says_so_once(world: Any) -> None:
    world.done(world.order())
    file = Path(world.folder) / "copy.db"
    copy_store(world.app.settings.store.path, file, world.clock())
    world.app.close()
    put_back(file, world.app.settings.store.path, world.clock(), "anna as root")
    world.open()
    world.app.recovery.begin()
    world.app.recovery.begin()
    world.app.recovery.finish("admin:anna")
    assert [action for action, *_ in lines(world)][-2:] == ["store.restored", "recovery.finished"]
    restored = world.app.store.read(lambda verbs: verbs.audit(2, None))[1]
    assert (restored.address, restored.facts["user"]) == ("local", "anna as root")
    assert world.app.store.read(verify).problem == ""


def test_no_password_is_in_the_audit(world: Any) -> None:
    world.done(world.order())
    world.done(world.event("service.reset_password"))
    password = world.told()[-1].data["password"]
    found = world.app.store.read(lambda verbs: verbs.audit(500, None))
    assert found[0].action == "reset_password.done"
    assert password not in repr(found)


# What was altered is found

COLUMNS = {
    "seq": 1000, "at": 1000, "actor": "admin:olga", "address": "198.51.100.1", "action": "start.accepted",
    "billing": "other", "service_id": "7", "operation": "op_other", "vmid": 4712, "reason": "another",
    "detail": '{"n":2}', "erased_by": 9, "digest": "0" * 64, "chain": "0" * 64,
}  # fmt: skip
LAST = 10


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store with ten lines, the last of which erased lines 3 and 5."""
    path = tmp_path / "provisioner.db"
    store = SqliteStore(path)

    def fill(verbs: Any) -> None:
        for number in range(1, LAST):
            service = "gone" if number in (3, 5) else "1001"
            verbs.add_audit(
                Deed(
                    number,
                    "admin:anna",
                    "stop.accepted",
                    "192.0.2.7",
                    "shop",
                    service,
                    "op_1",
                    4711,
                    "why",
                    {"n": 1},
                )
            )
        verbs.erase_audit("shop", "gone", Deed(LAST, "admin:anna", ""))

    store.write(fill)
    store.close()
    return path


def altered(path: Path, sql: str, *values: object) -> str:
    """What `check` says once this was done to the store by somebody else's hand."""
    with closing(sqlite3.connect(path)) as connection, connection:
        assert connection.execute(sql, values).rowcount >= 1
    store = SqliteStore(path)
    try:
        return store.read(verify).problem
    finally:
        store.close()


def test_untouched_audit_is_right(path: Path) -> None:
    assert altered(path, "UPDATE schema_version SET version = version") == ""


@pytest.mark.parametrize("seq", [1, 4, 9])
@pytest.mark.parametrize("column", COLUMNS)
def test_any_altered_column_is_found(path: Path, column: str, seq: int) -> None:
    problem = altered(path, f"UPDATE audit SET {column} = ? WHERE seq = ?", COLUMNS[column], seq)
    assert problem.startswith(f"line {seq} was {'removed' if column == 'seq' else 'altered'}"), problem


@pytest.mark.parametrize("seq", [3, 5])
@pytest.mark.parametrize("column", COLUMNS)
def test_any_altered_column_of_an_erased_line_is_found(path: Path, column: str, seq: int) -> None:
    problem = altered(path, f"UPDATE audit SET {column} = ? WHERE seq = ?", COLUMNS[column], seq)
    assert problem.startswith(f"line {seq} was {'removed' if column == 'seq' else 'altered'}"), problem


@pytest.mark.parametrize("column", COLUMNS)
def test_any_altered_column_of_an_erasure_is_found(path: Path, column: str) -> None:
    """Its line, or the first that it has emptied: that one has nothing else to show for itself."""
    problem = altered(path, f"UPDATE audit SET {column} = ? WHERE seq = 10", COLUMNS[column])
    first = 3 if column in ("seq", "action") else 10
    assert problem.startswith(f"line {first} was altered"), problem
    assert "line 10 was" in problem


@pytest.mark.parametrize("seq", range(1, LAST))
def test_any_removed_line_is_found(path: Path, seq: int) -> None:
    assert altered(path, "DELETE FROM audit WHERE seq = ?", seq) == f"line {seq} was removed"


@pytest.mark.parametrize("first", [5, 10])
def test_removed_erasure_is_found(path: Path, first: int) -> None:
    problem = altered(path, "DELETE FROM audit WHERE seq >= ?", first)
    assert problem == "line 3 was altered, or line 10 was: it is empty, and that one tells no erasure"


@pytest.mark.parametrize("first", [1, 2, 3])
def test_removed_end_is_found(path: Path, first: int) -> None:
    assert altered(path, "DELETE FROM audit WHERE seq >= ?", first) == f"line {first} was removed"


def test_removed_beginning_is_found(path: Path) -> None:
    assert altered(path, "DELETE FROM audit WHERE seq < 4") == "line 1 was removed"


COPY = (
    "INSERT INTO audit SELECT {seq}, at, actor, address, action, billing, service_id, operation, vmid,"
    " reason, detail, erased_by, digest, chain FROM audit WHERE seq = 2"
)


@pytest.mark.parametrize("seq", [0.5, 2.5, 9.5])
def test_line_pushed_in_is_found(path: Path, seq: float) -> None:
    assert altered(path, COPY.format(seq=seq)) == f"line {seq} was added"


def test_line_put_behind_is_found(path: Path) -> None:
    problem = altered(path, COPY.format(seq=11))
    assert problem.startswith("line 11 was altered")


def test_line_put_behind_with_its_chain_is_found(path: Path) -> None:
    from provisioner.audit import line_of

    store = SqliteStore(path)
    end = store.read(lambda verbs: verbs.audit_ends())[1]
    store.close()
    line = line_of(Deed(11, "admin:olga", "forged"), end)
    values = [getattr(line, name) for name in COLUMNS]
    places = ", ".join("?" for _ in COLUMNS)
    problem = altered(path, f"INSERT INTO audit ({', '.join(COLUMNS)}) VALUES ({places})", *values)
    assert problem == "line 11 was added"


EMPTY = (
    "UPDATE audit SET at = 0, actor = '', address = '', action = '', billing = '', service_id = '',"
    " operation = '', vmid = NULL, reason = '', detail = '', erased_by = ? WHERE seq = ?"
)


@pytest.mark.parametrize(
    ("by", "problem"),
    [
        (8, "line 7 was altered, or line 8 was: it is empty, and that one tells no erasure"),
        (2, "line 7 was altered, or line 2 was: it is empty, and that one tells no erasure"),
        (99, "line 7 was altered, or line 99 was: it is empty, and that one tells no erasure"),
        (
            10,
            "line 3 was altered, or one after it: 3 lines are empty for the erasure in line 10, which says 2",
        ),
    ],
)
def test_line_emptied_by_hand_is_found(path: Path, by: int, problem: str) -> None:
    assert altered(path, EMPTY, by, 7) == problem


def test_forgotten_end_is_found(path: Path) -> None:
    assert altered(path, "DELETE FROM facts WHERE name = 'audit_end'") == "line 1 was added"


def test_removed_newest_line_is_found(path: Path) -> None:
    store = SqliteStore(path)
    store.write(lambda verbs: verbs.add_audit(Deed(11, "admin:anna", "work.paused")))
    store.close()
    assert altered(path, "DELETE FROM audit WHERE seq = 11") == "line 11 was removed"


@pytest.mark.parametrize("seed", range(20))
def test_random_alteration_is_found(path: Path, seed: int) -> None:
    rng = random.Random(seed)
    column = rng.choice([name for name in COLUMNS if name not in ("seq", "erased_by")])
    seq = rng.randint(1, LAST - 1)
    value = rng.choice([None, 0, 1.5, "", "x", "admin:anna ", b"\x00"])
    with closing(sqlite3.connect(path)) as connection:
        before = connection.execute(f"SELECT {column} FROM audit WHERE seq = ?", (seq,)).fetchone()[0]
    if value == before or (value is None and column != "vmid"):
        value = "another" if column not in ("at", "vmid") else 77
    problem = altered(path, f"UPDATE audit SET {column} = ? WHERE seq = ?", value, seq)
    assert problem.startswith(f"line {seq} was altered"), (column, value, problem)


def test_pruned_and_altered_is_found(path: Path) -> None:
    store = SqliteStore(path)
    store.write(lambda verbs: verbs.prune_audit(5))
    assert store.read(verify).problem == ""
    store.close()
    assert altered(path, "DELETE FROM audit WHERE seq = 6") == "line 6 was removed"
    assert altered(path, 'UPDATE facts SET value = \'{"seq": 6, "chain": ""}\' WHERE name = \'audit_begin\'')
