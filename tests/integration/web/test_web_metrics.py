"""The numbers, their page, and what Prometheus and Grafana are to make of them: all name the same."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import promql_parser as promql
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from provisioner.engine.causes import CauseName
from provisioner.engine.skew import UPSTREAM
from provisioner.errors import StoreUnavailable
from provisioner.machine import Disk
from provisioner.operation import Kind, Operation, State
from provisioner.store import Store
from provisioner.store.observed import ObservedStore
from provisioner.store.verbs import Verbs
from provisioner.upstream import Call
from provisioner.upstream.answers import CODES
from provisioner.web import counts as counting
from provisioner.web.counts import ENDPOINTS, Counts, endpoint_of
from tests.integration.web.conftest import SECRET, TABLES, Stage

ROOT = Path(__file__).parents[3]
ROW = re.compile(r"^\| `(provisioner_\w+)` \|([^|]*)\|", re.MULTILINE)
TARGET = {"instance", "job"}  # what Prometheus itself adds
OPEN = {"code", "billing", "endpoint", "outcome", "version", "python", "sqlite", "le"}  # values not all shown
NOT_OURS = {"up"}

RULES = [
    rule
    for group in yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text("utf-8"))["groups"]
    for rule in group["rules"]
]
DASHBOARD = json.loads((ROOT / "deploy/grafana/provisioner.json").read_text("utf-8"))
PANELS = DASHBOARD["panels"]
TARGETS = [(panel, target) for panel in PANELS for target in panel.get("targets", [])]


def call(method: str = "GET", path: str = "datacenter/server/4001/status", outcome: str = "ok") -> Call:
    return Call(method, path, 200, outcome, "", 120)


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A service that has seen everything that is counted; nobody changes it."""
    pulled = {"platform": "whmcs", "secrets": [SECRET], "deliver": "pull"}
    billing = {**TABLES["billing"], "pulled": pulled}
    stage = Stage(tmp_path_factory.mktemp("lived"), {"billing": billing})
    live(stage)
    yield stage
    stage.close()


@pytest.fixture(scope="module")
def families(lived: Stage) -> dict[str, Any]:
    return shown(lived)


def live(stage: Stage) -> None:
    order = {"type": "order.paid", "data": {"service_id": "1", "plan": "vps-s"}}
    operation = stage.send("/webhooks/pulled", json.dumps(order).encode()).json["operation"]
    stage.record(lambda record: record.fail(stage.operation(operation), "lost", "It failed."))
    stage.app.alerts.machine = lambda: Disk(free=5, size=100, store=1)
    for _ in range(3):
        stage.app.alerts.skew.heard(UPSTREAM, stage.clock.ms / 1000)
    stage.failed("1")
    stage.held("2", "config_differs")
    stage.event("service.suspend", {"service_id": "nosuch"})
    counts = stage.app.counts
    counts.called(call())
    counts.messaged("sent")
    counts.beat("sent")
    stage.app.alerts.look()
    done = stage.operation(stage.order("3", hostname=None))
    counts.ended(replace(done, state=State.SUCCEEDED, sent=True, updated_at=done.created_at + 40_000))


def shown(stage: Any) -> dict[str, Any]:
    """Each family, as Prometheus names it."""
    families = text_string_to_metric_families(stage.get("/metrics").text)
    return {f"{one.name}_total" if one.type == "counter" else one.name: one for one in families}


def labels_of(family: Any) -> set[str]:
    return {label for sample in family.samples for label in sample.labels} - {"le"}


# The page


def test_page_names_what_is_shown(families: dict[str, Any]) -> None:
    page = ROW.findall((ROOT / "docs" / "metrics.md").read_text("utf-8"))
    told = {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in page}
    assert len(page) == len(told)
    assert told == {name: labels_of(family) for name, family in families.items()}


def test_every_family_has_words(families: dict[str, Any]) -> None:
    assert [name for name, family in families.items() if not family.documentation] == []


# What is counted


def sample(stage: Any, name: str, **labels: str) -> float | None:
    found = [
        one.value
        for family in text_string_to_metric_families(stage.get("/metrics").text)
        for one in family.samples
        if one.name == name and labels.items() <= one.labels.items()
    ]
    assert len(found) <= 1, found
    return found[0] if found else None


def test_ends_are_counted_once_they_are_durable(stage: Any) -> None:
    def in_vain(record: Any) -> None:
        record.fail(stage.operation(operation), "lost", "It failed.")
        raise ValueError("and the transaction with it")

    operation = stage.order("1", hostname=None)
    with pytest.raises(ValueError, match="transaction"):
        stage.record(in_vain)
    assert sample(stage, "provisioner_operations_ended_total", kind="create", outcome="failed") is None
    stage.record(lambda record: record.fail(stage.operation(operation), "lost", "It failed."))
    assert sample(stage, "provisioner_operations_ended_total", kind="create", outcome="failed") == 1


def test_end_that_may_not_be_kept_is_not_counted(stage: Any) -> None:
    class Failing:
        """A store that carries a unit out and then cannot commit it."""

        name = "failing"

        def write(self, unit: Any) -> None:
            verbs = Verbs(Anything())
            unit(verbs)
            raise StoreUnavailable("the disk is full")

    class Anything:
        def change(self, sql: str, parameters: object) -> int:
            return 1

    ended: list[Operation] = []
    failed = replace(stage.operation(stage.failed()), state=State.FAILED)
    store = ObservedStore(cast("Store", Failing()), ended.append)
    with pytest.raises(StoreUnavailable):
        store.write(lambda verbs: verbs.save_operation(failed, fence=1))
    assert ended == []


def test_only_a_vm_that_was_made_takes_time(stage: Any) -> None:
    made = replace(stage.operation(stage.order()), state=State.SUCCEEDED, sent=True)
    made = replace(made, updated_at=made.created_at + 40_000)
    for ended in (made, replace(made, sent=False), replace(made, kind=Kind.REINSTALL)):
        stage.app.counts.ended(ended)
    assert sample(stage, "provisioner_paid_to_delivered_seconds_count") == 1
    assert sample(stage, "provisioner_paid_to_delivered_seconds_sum") == 40
    assert sample(stage, "provisioner_operations_ended_total", kind="create", outcome="succeeded") == 2


def test_whole_order_is_counted(worlds: Any) -> None:
    world = worlds()
    world.done(world.order())
    world.run(60)
    text = {
        (one.name, *one.labels.values()): one.value
        for family in world.app.counts.families()
        for one in family.samples
    }
    assert text["provisioner_operations_ended_total", "create", "succeeded"] == 1
    assert text["provisioner_upstream_calls_total", "POST server", "ok"] == 1
    assert text["provisioner_upstream_calls_total", "GET job/{id}", "ok"] >= 1
    assert text[("provisioner_paid_to_delivered_seconds_count",)] == 1
    assert text["provisioner_upstream_call_seconds_count", "POST server"] == 1


def test_codes_and_endpoints_are_those_that_are_documented() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    table = re.search(r"<!-- endpoints -->(.*)<!-- /endpoints -->", readme, re.DOTALL)
    assert table is not None
    named = {path for _, path in re.findall(r"`(GET|PUT|POST) ([^`]+)`", table[1])}
    assert named == set(ENDPOINTS)
    assert set(CODES) == counting.CODES


@pytest.mark.parametrize(
    ("path", "endpoint"),
    [
        ("datacenter/server", "GET server"),
        ("datacenter/templates", "GET templates"),
        ("job/canary-1", "GET job/{id}"),
        ("datacenter/server/4711/backups/list", "GET server/{id}/backups/list"),
        ("datacenter/server/4711/canary", "other"),
        ("canary", "other"),
    ],
)
def test_endpoints_hold_no_ids(path: str, endpoint: str) -> None:
    assert endpoint_of(call(path=path)) == endpoint


def test_codes_of_the_outside_are_no_labels(stage: Any) -> None:
    counts = Counts()
    for number in range(1000):
        counts.called(call(path=f"datacenter/server/{number}/config", outcome=f"0xf{number}"))
    series = [one for family in counts.families() for one in family.samples if "calls_total" in one.name]
    assert [(one.labels, one.value) for one in series] == [
        ({"endpoint": "GET server/{id}/config", "outcome": "other"}, 1000.0)
    ]
    for number in range(40):
        stage.held(str(number), f"0xf{number:02}")
    family = shown(stage)["provisioner_operations_held"]
    assert len(family.samples) == 31
    assert sample(stage, "provisioner_operations_held", code="other") == 10


def test_unknown_is_missing_and_no_zero(stage: Any) -> None:
    stage.app.alerts.machine = lambda: None
    assert sample(stage, "provisioner_clock_skew_seconds") is None
    assert sample(stage, "provisioner_disk_free_bytes") is None
    assert sample(stage, "provisioner_reconciliation_timestamp_seconds") is None


def test_every_cause_is_shown_on_or_off(families: dict[str, Any]) -> None:
    family = families["provisioner_alerts"]
    on = {one.labels["cause"]: one.value for one in family.samples}
    assert set(on) == {name.value for name in CauseName}
    assert {name for name, value in on.items() if value} == {"held", "disk_low", "events_rejected"}


# What reads them


def walked(expression: Any) -> Iterator[Any]:
    """Every part of an expression."""
    yield expression
    for name in ("lhs", "rhs", "expr", "param", "vector_selector"):
        inner = getattr(expression, name, None)
        if inner is not None:
            yield from walked(inner)
    for inner in getattr(expression, "args", ()):
        yield from walked(inner)


def selectors(text: str) -> list[Any]:
    return [part for part in walked(promql.parse(text)) if isinstance(part, promql.VectorSelector)]


def grouped(text: str) -> set[str]:
    words = re.findall(r"\b(?:by|without|on|ignoring|group_left|group_right) ?\(([^)]*)\)", text)
    return {label.strip() for word in words for label in word.split(",") if label.strip()}


def holds(text: str, families: dict[str, Any], shown_labels: set[str]) -> None:
    """Every metric, label and literal value that an expression names is there."""
    known = set(TARGET) | {"le"}
    for selector in selectors(text):
        if selector.name in NOT_OURS:
            continue
        family = families[re.sub(r"_(bucket|count|sum)$", "", selector.name)]
        known |= labels_of(family)
        for matcher in selector.matchers.matchers:
            assert matcher.name in labels_of(family) | TARGET, (selector.name, matcher.name)
            values = {one.labels.get(matcher.name) for one in family.samples}
            if matcher.name not in OPEN | TARGET | {"status"} and matcher.value:
                assert set(matcher.value.split("|")) <= values, (selector.name, matcher.value)
    assert grouped(text) <= known, text
    assert shown_labels <= known, (text, shown_labels)


def test_rules_are_rules() -> None:
    names = [rule["alert"] for rule in RULES]
    assert len(names) == len(set(names))
    for rule in RULES:
        assert set(rule) <= {"alert", "expr", "for", "keep_firing_for", "labels", "annotations"}
        assert rule["labels"]["severity"] in ("severe", "warning")
        assert set(rule["annotations"]) == {"summary", "description"}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_rule_names_what_is_there(families: dict[str, Any], rule: dict[str, Any]) -> None:
    words = " ".join(rule["annotations"].values())
    holds(rule["expr"], families, set(re.findall(r"\$labels\.(\w+)", words)))


def test_rules_have_the_thresholds_of_the_causes() -> None:
    from provisioner.engine import causes

    numbers = {rule["alert"]: rule for rule in RULES}
    stands, late = causes.STANDS_MS // 1000, causes.LATE_MS // 1000
    assert f"> {stands} " in numbers["work_stands"]["expr"]
    assert f"> {late}" in numbers["delivery_failing"]["expr"]
    assert f"> {late}" in numbers["delivery_not_fetched"]["expr"]
    assert f"< {causes.DISK_LOW:.2f}" in numbers["disk_low"]["expr"]
    assert f"> {causes.SKEW_S:.0f}" in numbers["clock_skew"]["expr"]
    assert [numbers[name]["for"] for name in ("paused", "recovering")] == [
        f"{causes.PAUSED_MS // causes.HOUR_MS}h"
    ] * 2
    assert numbers["held"]["expr"].count(f"[{causes.FORGOTTEN_S / 60:.0f}m]") == 2


def test_dashboard_is_one() -> None:
    assert DASHBOARD["title"] == "provisioner"
    assert DASHBOARD["uid"]
    assert DASHBOARD["schemaVersion"] >= 36  # data sources by their uid
    assert "id" not in DASHBOARD  # Grafana gives it one
    ids = [panel["id"] for panel in PANELS]
    assert len(ids) == len(set(ids))
    assert {variable["name"] for variable in DASHBOARD["templating"]["list"]} == {"datasource", "instance"}


def test_panels_lie_side_by_side() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        place = panel["gridPos"]
        assert place["x"] >= 0, panel["title"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells


def test_what_needs_a_person_comes_first() -> None:
    rows = [panel["title"] for panel in PANELS if panel["type"] == "row"]
    assert rows[0] == "What needs a person"
    assert [panel["title"] for panel in PANELS[1:3]] == ["Alerts that are on", "Held, by reason"]


@pytest.mark.parametrize(
    ("panel", "target"), TARGETS, ids=[f"{panel['id']}{target['refId']}" for panel, target in TARGETS]
)
def test_panel_names_what_is_there(
    families: dict[str, Any], panel: dict[str, Any], target: dict[str, Any]
) -> None:
    assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    legend = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
    holds(target["expr"], families, legend)
    for selector in selectors(target["expr"]):
        matched = {matcher.name: matcher.value for matcher in selector.matchers.matchers}
        assert matched["instance"] == "$instance", target["expr"]


def test_every_panel_asks_something() -> None:
    assert [panel["title"] for panel in PANELS if panel["type"] != "row" and not panel["targets"]] == []
    for panel in PANELS:
        refs = [target["refId"] for target in panel.get("targets", [])]
        assert len(refs) == len(set(refs))


def test_variables_ask_for_what_is_there(families: dict[str, Any]) -> None:
    [asked] = [one["query"]["query"] for one in DASHBOARD["templating"]["list"] if one["type"] == "query"]
    found = re.fullmatch(r"label_values\((\w+), (\w+)\)", asked)
    assert found is not None
    assert found[1] in families
    assert found[2] in TARGET
