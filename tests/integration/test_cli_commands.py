"""The commands that look into the store and change it, in this process: no service runs."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from provisioner import app as wiring
from provisioner.cli import client, run
from provisioner.config import Settings, fresh_secrets, load, starter
from provisioner.engine.record import Record
from provisioner.operation import Kind, Operation, State
from provisioner.store.sqlite import SqliteStore
from provisioner.store.verbs import Verbs

pytestmark = pytest.mark.usefixtures("logs_as_before")


@dataclass
class Ran:
    """What a command did."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert self.status == 0, self.err
        return json.loads(self.out)


class Site:
    """One installation whose service does not run."""

    def __init__(self, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.config = config
        self._capsys = capsys

    @property
    def settings(self) -> Settings:
        return load(self.config, {})

    def run(self, *words: str) -> Ran:
        self._capsys.readouterr()
        status = run([*words, "--config", str(self.config)])
        return Ran(status, *self._capsys.readouterr())

    def ids(self) -> list[str]:
        return [item["id"] for item in self.run("operations", "list", "--json").json["items"]]

    def states(self) -> dict[str, str]:
        items = self.run("operations", "list", "--json").json["items"]
        return {item["service_id"]: item["state"] for item in items if item["kind"] == "create"}

    def receive(self, *orders: dict[str, Any]) -> list[str]:
        """Accepts or rejects an order.paid with each of these data; returns the operations' ids."""
        with closing(wiring.build(self.settings)) as app:
            answers = [
                app.accept.webhook(
                    "shop", str(order), json.dumps({"type": "order.paid", "data": order}).encode()
                )
                for order in orders
            ]
        return [json.loads(answer.body).get("operation", "") for answer in answers]

    def change(self, operation_id: str, change: Callable[[Record, Operation], object]) -> None:
        """Brings an operation where a worker would have brought it."""
        with closing(wiring.build(self.settings)) as app:

            def unit(verbs: Verbs) -> None:
                operation = verbs.operation(operation_id)
                assert operation is not None
                change(Record(verbs, app.clock(), wiring.new_id), operation)

            app.store.write(unit)


def order(service_id: str, **data: Any) -> dict[str, Any]:
    return {"service_id": service_id, "plan": "vps-s", **data}


def failed(record: Record, operation: Operation) -> None:
    record.fail(operation, "0xb1", "It could not be made.", detail="no such template")


def held(record: Record, operation: Operation) -> None:
    record.hold(operation, "brake", "The provider checks this.", detail="too many")


@pytest.fixture
def site(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setattr(client, "PATIENCE_S", 0.0)
    config = tmp_path / "config.toml"
    config.write_text(starter(fresh_secrets(), listen="127.0.0.1:1", upstream_token="a-token"))
    config.chmod(0o600)
    return Site(config, capsys)


def test_lists_are_newest_first(site: Site) -> None:
    first, second = site.receive(order("1001"), order("1002"))
    assert site.ids() == [second, first]


def test_list_follows_pages(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    made = site.receive(*(order(str(number)) for number in range(1, 6)))
    monkeypatch.setattr(client, "PAGE", 2)
    everything = site.run("operations", "list", "--limit", "0", "--json").json
    assert [item["id"] for item in everything["items"]] == made[::-1]
    assert everything["next"] is None
    three = site.run("operations", "list", "--limit", "3", "--json").json
    assert [item["id"] for item in three["items"]] == made[:1:-1]
    assert three["next"]


FILTERS = [
    (["--service-id", "1002"], ["1002"]),
    (["--state", "held"], ["1001"]),
    (["--kind", "terminate"], []),
    (["--billing", "shop", "--state", "queued"], ["1002"]),
    (["--billing", "other"], []),
]


@pytest.mark.parametrize(("words", "found"), FILTERS)
def test_filters_narrow_the_list(site: Site, words: list[str], found: list[str]) -> None:
    first, _ = site.receive(order("1001"), order("1002"))
    site.change(first, held)
    items = site.run("operations", "list", *words, "--json").json["items"]
    assert [item["service_id"] for item in items] == found


def test_table_shows_ids_whole(site: Site) -> None:
    (made,) = site.receive(order("1001"))
    site.change(made, failed)
    table = site.run("operations", "list").out
    assert made in table
    assert "0xb1: no such template" in table


def test_operation_shows_its_timeline(site: Site) -> None:
    (made,) = site.receive(order("1001"))
    shown = site.run("operations", "show", made)
    assert shown.status == 0
    assert "state        queued" in shown.out
    assert "accepted" in shown.out.partition("timeline")[2]
    assert [line["what"] for line in site.run("operations", "show", made, "--json").json["timeline"]] == [
        "accepted"
    ]


@pytest.mark.parametrize(
    ("change", "verb", "state"),
    [(failed, "retry", "queued"), (held, "approve", "waiting"), (held, "cancel", "cancelled")],
)
def test_person_moves_one_operation(
    site: Site, change: Callable[[Record, Operation], object], verb: str, state: str
) -> None:
    (made,) = site.receive(order("1001"))
    site.change(made, change)
    dry = site.run("operations", verb, made, "--dry-run")
    assert (dry.status, "would be" in dry.out, made in dry.out) == (0, True, True)
    assert site.states() == {"1001": "failed" if change is failed else "held"}
    assert site.run("operations", verb, made).status == 0
    assert site.states() == {"1001": state}


def test_reason_reaches_the_timeline(site: Site) -> None:
    (made,) = site.receive(order("1001"))
    site.run("operations", "cancel", made, "--reason", "a mistake")
    timeline = site.run("operations", "show", made, "--json").json["timeline"]
    assert [line["actor"] for line in timeline if "a mistake" in json.dumps(line)] == ["admin:admin"]


@pytest.mark.parametrize("verb", ["retry", "approve"])
@pytest.mark.parametrize("words", [[], ["--dry-run"]])
def test_wrong_state_fails(site: Site, verb: str, words: list[str]) -> None:
    (made,) = site.receive(order("1001"))
    ran = site.run("operations", verb, made, *words)
    assert (ran.status, ran.out) == (1, "")
    assert "is queued" in ran.err


def test_all_takes_what_the_filters_find(site: Site) -> None:
    made = site.receive(order("1001"), order("1002"), order("1003"))
    site.change(made[0], failed)
    site.change(made[1], held)
    dry = site.run("operations", "cancel", "--all", "--dry-run")
    assert [line.split()[3] for line in dry.out.splitlines()] == [made[1], made[2]]
    only = site.run("operations", "cancel", "--all", "--state", "queued", "--dry-run")
    assert [line.split()[3] for line in only.out.splitlines()] == [made[2]]
    assert site.run("operations", "cancel", "--all", "--service-id", "1003").status == 0
    assert site.states() == {"1001": "failed", "1002": "held", "1003": "cancelled"}
    assert site.run("operations", "approve", "--all").status == 0
    assert site.run("operations", "retry", "--all", "--kind", "create").status == 0
    assert site.states() == {"1001": "queued", "1002": "waiting", "1003": "cancelled"}


def test_all_tells_what_it_could_not_do(site: Site) -> None:
    made = site.receive(order("1001"), order("1002"))
    sent = lambda record, operation: record.verbs.save_operation(  # noqa: E731
        replace(operation, sent=True), fence=operation.claims
    )
    site.change(made[0], sent)
    ran = site.run("operations", "cancel", "--all")
    assert ran.status == 1
    assert made[0] in ran.err
    assert "1 of 2" in ran.err
    assert site.states() == {"1001": "queued", "1002": "cancelled"}


def test_follower_that_ended_too_is_no_failure(site: Site) -> None:
    site.receive(order("1001", hostname="web1.example.com"))
    ran = site.run("operations", "cancel", "--all")
    assert (ran.status, ran.err) == (0, "")
    assert "went on meanwhile" in ran.out


WRONG_USE = [
    ["operations", "cancel"],
    ["operations", "cancel", "op_1", "--all"],
    ["operations", "cancel", "op_1", "--kind", "create"],
    ["operations", "cancel", "--all", "--kind", "nothing"],
    ["operations", "approve", "op_1", "--vmid", "4001"],
    ["operations", "approve", "--all", "--choice", "adopt", "--vmid", "4001"],
    ["operations", "approve", "op_1", "--choice", "guess"],
    ["operations", "list", "--state", "odd"],
    ["operations", "list", "--limit", "-1"],
    ["services", "show", "shop"],
    ["brakes", "reset", "reboot"],
    ["send", "order.paid", "1001", "plan"],
    ["send", "order.paid", "1001", "--billing", "other"],
    ["send", "order.paid", "1001", "--id", " "],
    ["no-such-command"],
]


@pytest.mark.parametrize("words", WRONG_USE)
def test_wrong_use_is_status_two(site: Site, words: list[str]) -> None:
    ran = site.run(*words)
    assert (ran.status, ran.out) == (2, "")
    assert "Error: " in ran.err


@pytest.mark.parametrize(
    "words",
    [
        ["operations", "show", "op_1"],
        ["operations", "cancel", "op_1"],
        ["services", "show", "shop", "1001"],
        ["services", "show", "shop", "a b/../%2f"],
        ["events", "show", "evt_1"],
        ["events", "replay", "evt_1"],
        ["billing", "trust", "other", "https://billing.example.com/#2"],
    ],
)
def test_unknown_id_is_one_sentence(site: Site, words: list[str]) -> None:
    ran = site.run(*words)
    assert (ran.status, ran.out, len(ran.err.splitlines())) == (1, "", 1)
    assert ran.err.startswith("Error: there is no")


def test_service_shows_what_was_asked(site: Site) -> None:
    site.receive(order("Ä 100%25?#1", hostname="web1.example.com"))
    (item,) = site.run("services", "list", "--json").json["items"]
    shown = site.run("services", "show", "shop", item["service_id"])
    assert shown.status == 0
    assert "web1.example.com" in shown.out
    assert "create" in shown.out.partition("operations, newest first")[2]
    assert site.run("services", "list", "--status", "active", "--json").json["items"] == []


def test_rejected_event_is_replayed(site: Site) -> None:
    site.receive(order("1001", plan="vps-x"))
    (event,) = site.run("events", "list", "--state", "rejected", "--json").json["items"]
    assert "vps-x" in site.run("events", "show", event["id"]).out
    again = site.run("events", "replay", event["id"])
    assert (again.status, again.out) == (1, "")
    assert again.err.startswith("Error: ")
    site.config.write_text(site.config.read_text().replace("[plans.vps-s]", "[plans.vps-x]"))
    assert site.run("events", "replay", event["id"]).out == f"accepted: operation {site.ids()[0]}\n"


def test_pause_holds_until_resume(site: Site) -> None:
    assert site.run("pause", "--reason", "maintenance").status == 0
    with closing(wiring.build(site.settings)) as app:
        fact = app.store.read(lambda verbs: verbs.fact("paused"))
        assert fact is not None
        assert fact["reason"] == "maintenance"
        app.store.write(lambda verbs: verbs.set_fact("token_refused", {"at": 1}, 1))
    assert "token_refused" in site.run("resume").out
    with closing(wiring.build(site.settings)) as app:
        assert app.store.read(lambda verbs: verbs.fact("paused")) is None
        app.store.write(lambda verbs: verbs.drop_fact("token_refused"))
    assert site.run("resume").out == "Resumed.\n"


def test_brake_is_reset(site: Site) -> None:
    with closing(wiring.build(site.settings)) as app:
        app.store.write(lambda verbs: verbs.set_fact("brake:terminate", app.clock(), 1))
    tripped = {
        brake["kind"]: brake["tripped_at"] for brake in site.run("brakes", "list", "--json").json["items"]
    }
    assert tripped["terminate"]
    assert not tripped["create"]
    assert site.run("brakes", "reset", "terminate").status == 0
    assert "–" in site.run("brakes", "list").out
    items = site.run("brakes", "list", "--json").json["items"]
    assert not any(brake["tripped_at"] for brake in items)


def test_trusted_installation_is_pinned(site: Site) -> None:
    assert site.run("billing", "trust", "shop", "https://billing.example.com/#2").status == 0
    with closing(wiring.build(site.settings)) as app:
        pinned = app.store.read(lambda verbs: verbs.fact("installation:shop"))
    assert pinned == "https://billing.example.com/#2"


def test_held_store_without_answer_says_what_to_do(site: Site) -> None:
    path = site.settings.store.path
    assert path is not None
    wiring.build(site.settings).close()
    with closing(SqliteStore(path)):
        ran = site.run("operations", "list")
    assert (ran.status, ran.out) == (1, "")
    assert "http://127.0.0.1:1" in ran.err
    assert "end it" in ran.err
    assert site.run("operations", "list").status == 0


def test_passing_lock_is_waited_for(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    path = site.settings.store.path
    assert path is not None
    monkeypatch.setattr(client, "PATIENCE_S", 10.0)
    wiring.build(site.settings).close()
    other = SqliteStore(path)
    monkeypatch.setattr(client.time, "sleep", lambda _: other.close())
    assert site.run("operations", "list").status == 0


def test_every_kind_and_state_is_a_filter(site: Site) -> None:
    usage = " ".join(site.run("operations", "list", "--help").out.split())
    assert "|".join(Kind) in usage.replace(" ", "")
    assert "|".join(State) in usage.replace(" ", "")


EMPTY = [
    *(
        ["operations", verb, "--all", "--dry-run", option, ""]
        for verb in ("approve", "cancel", "retry")
        for option in ("--billing", "--service-id", "--kind", "--state")
    ),
    ["operations", "cancel", "", "--all", "--dry-run"],
    ["operations", "list", "--billing", ""],
    ["services", "list", "--ip", ""],
    ["events", "list", "--billing", ""],
    ["audit", "list", "--since", ""],
    ["operations", "show", ""],
    ["services", "move", "shop", "1001", "2", "--to-billing", ""],
    ["billing", "trust", "shop", ""],
    ["send", "service.suspend", "1001", "--id", ""],
    ["send", "service.suspend", ""],
]


@pytest.mark.parametrize("words", EMPTY, ids=" ".join)
def test_empty_word_is_wrong_use_and_never_means_all(site: Site, words: list[str]) -> None:
    """As a script gives it whose variable is unset."""
    site.receive(order("1001"))
    ran = site.run(*words)
    assert (ran.status, ran.out) == (2, "")
    assert "Usage: " in ran.err
    assert site.states() == {"1001": "queued"}


def test_empty_reason_is_none(site: Site) -> None:
    site.receive(order("1001"))
    assert site.run("operations", "cancel", "--all", "--reason", "").status == 0
    assert site.states() == {"1001": "cancelled"}


@pytest.mark.parametrize("words", [["serve"], ["operations", "list"], ["pause"]], ids=" ".join)
def test_hooks_folder_that_is_none_is_a_wrong_setting(site: Site, words: list[str]) -> None:
    """Without the hooks, what they would object to would be carried out."""
    plain = site.config.read_text()
    site.config.write_text(plain + '[hooks]\ndirectory = "hoks"\n')
    ran = site.run(*words)
    assert (ran.status, ran.out) == (2, "")
    folder = site.config.with_name("hoks")
    assert ran.err.startswith(
        f"Error: {site.config}: [hooks] directory: names {folder}, which cannot be read"
    )
    folder.mkdir()
    assert site.run("operations", "list").status == 0


REFUSED = {
    "operations list --vmid 99999999999999999999": "vmid must be a positive integer",
    "services list --ip zzz": "ip must be an IPv4 or IPv6 address",
    "audit list --since nope": "since must be a time such as",
}


@pytest.mark.parametrize("words", REFUSED)
def test_words_that_are_refused_are_wrong_use(site: Site, words: str) -> None:
    ran = site.run(*words.split())
    assert ran.status == 2
    assert REFUSED[words] in ran.err


def test_event_that_is_rejected_again_is_a_failure(site: Site) -> None:
    """Not the command's words are wrong, but the event's."""
    site.receive(order("1001", options={"mem": 1}))
    (event,) = site.run("events", "list", "--json").json["items"]
    ran = site.run("events", "replay", event["id"])
    assert (ran.status, ran.out) == (1, "")
    assert "rejected again: " in ran.err


def sent(record: Record, operation: Operation) -> None:
    record.verbs.save_operation(replace(operation, sent=True), fence=operation.claims)


def lost(record: Record, operation: Operation) -> None:
    record.hold(operation, "create_lost", "The provider checks this.", detail="new ones: 4001")


@pytest.mark.parametrize(
    ("verb", "change", "why"),
    [("cancel", sent, "terminate the service instead"), ("approve", lost, "choice: must be one of adopt")],
)
def test_dry_run_promises_nothing_that_is_refused(
    site: Site, verb: str, change: Callable[[Record, Operation], object], why: str
) -> None:
    refused, fine = site.receive(order("1001"), order("1002"))
    site.change(fine, held)
    site.change(refused, change)
    before = site.states()
    dry = site.run("operations", verb, "--all", "--dry-run")
    assert (dry.status, dry.out.split()[:2], dry.out.count("\n")) == (1, ["would", "be"], 1)
    assert fine in dry.out
    assert dry.err.startswith(f"would not be {verb.rstrip('e')}")
    assert refused in dry.err
    assert why in dry.err
    assert site.states() == before
    alone = site.run("operations", verb, refused, "--dry-run")
    assert (alone.status > 0, alone.out, why in alone.err) == (True, "", True)
    real = site.run("operations", verb, "--all")
    assert (real.status, refused in real.err, why in real.err, fine in real.out) == (1, True, True, True)


@pytest.mark.parametrize(
    ("words", "asks_to_look"), [(["operations", "list"], False), (["pause", "--reason", ""], True)]
)
def test_call_that_is_cut_off_asks_to_look_only_after_a_change(
    site: Site, monkeypatch: pytest.MonkeyPatch, words: list[str], asks_to_look: bool
) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as door:

        def cut() -> None:
            door.accept()[0].close()

        cutting = threading.Thread(target=cut)
        cutting.start()
        monkeypatch.setenv("PROVISIONER_TOKEN", "somebodys-token-0123")
        monkeypatch.setenv("PROVISIONER_URL", f"http://127.0.0.1:{door.getsockname()[1]}")
        ran = site.run(*words)
        cutting.join()
    assert (ran.status, "gave no answer" in ran.err) == (1, True)
    assert ("look whether it was done" in ran.err) == asks_to_look
