"""What the tables must agree on, each mistake found whatever else is wrong."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from pydantic import BaseModel

from provisioner.config.agreement import disagreements
from provisioner.config.settings import PLATFORMS, AnyBilling, RetrySettings, UpstreamSettings


def whsec(letter: str) -> str:
    return "whsec_" + base64.b64encode(letter.encode() * 24).decode()


def plan(**keys: object) -> dict[str, Any]:
    sizes = {"template": "Debian10.0", "cpu_cores": 2, "mem": 1024, "disk": "10G", "ip_count": 2}
    return {"plans": {"s": sizes | keys}}


def whmcs(**keys: object) -> dict[str, Any]:
    api = {"api_url": "https://b.example.com/api.php", "identifier": "i", "secret": "s"}
    return {"billing": {"w": {"platform": "whmcs"} | api | keys}}


DISAGREE: list[tuple[dict[str, Any], tuple[str | int, ...], str]] = [
    (
        {"server": {"listen": "h:1", "admin_listen": "h:1"}},
        ("server", "admin_listen"),
        "is the same as listen",
    ),
    (
        {"store": {"url": "postgresql://h/d"}},
        ("security", "encryption_keys"),
        "is needed with PostgreSQL",
    ),
    (
        {"store": {"url": "postgresql://h/d"}, "security": {"encryption_keys": []}},
        ("security", "encryption_keys"),
        "is needed with PostgreSQL",
    ),
    (
        {"security": {"admin_token": "t"}, "admins": {"anna": {"token": "t"}}},
        ("admins", "anna", "token"),
        "is the same as [security] admin_token",
    ),
    (
        {"admins": {"anna": {"token": "t"}, "bert": {"token": "t"}}},
        ("admins", "bert", "token"),
        "is the same as [admins.anna] token",
    ),
    ({"retry": {"first": 400, "max": 300}}, ("retry", "first"), "is longer than max"),
    (
        {"upstream": {"job_poll": 20, "job_timeout": 10}},
        ("upstream", "job_poll"),
        "is longer than job_timeout",
    ),
    (whmcs(api_url=""), ("billing", "w", "api_url"), "is needed to push"),
    (whmcs(identifier=""), ("billing", "w", "identifier"), "is needed to push"),
    (whmcs(secret="", deliver="push"), ("billing", "w", "secret"), "is needed to push"),
    (
        whmcs(on_failure="ticket"),
        ("billing", "w", "ticket_department"),
        'is needed with on_failure = "ticket"',
    ),
    (
        {"billing": {"a": {"plans": ["s", "m"]}}, "plans": {"s": {}, "l": {}}},
        ("billing", "a", "plans", 1),
        "is no plan of this file; must be one of the plans: s, l",
    ),
    (
        {"billing": {"a": {"plans": ["s"]}}},
        ("billing", "a", "plans", 0),
        "is no plan of this file; must be a plan;",
    ),
    (plan(max={"cpu_cores": 1}), ("plans", "s", "max", "cpu_cores"), "is below the plan's own cpu_cores"),
    (plan(max={"mem": 1023}), ("plans", "s", "max", "mem"), "is below the plan's own mem"),
    (plan(max={"disk": "10239M"}), ("plans", "s", "max", "disk"), "is below the plan's own disk"),
    (plan(max={"ip_count": 1}), ("plans", "s", "max", "ip_count"), "is below the plan's own ip_count"),
]
AGREE: list[dict[str, Any]] = [
    {},
    {"server": {"listen": "h:1", "admin_listen": "h:2"}},
    {"server": {"listen": "h:0", "admin_listen": "h:0"}},
    {"store": {"url": "postgresql://h/d"}, "security": {"encryption_keys": ["k"]}},
    {"store": {"url": "sqlite:///p.db"}},
    {"security": {"admin_token": "t"}, "admins": {"anna": {"token": "u"}, "bert": {"token": "v"}}},
    {"security": {"admin_token": ""}, "admins": {"anna": {"token": ""}}},
    {"retry": {"first": 300, "max": 300}},
    {"retry": {"first": "400", "max": 300}},
    {"upstream": {"job_poll": 10}},
    whmcs(),
    whmcs(api_url="", identifier="", secret="", deliver="pull"),
    whmcs(on_failure="ticket", ticket_department=3),
    {"billing": {"a": {"secrets": [whsec("a"), whsec("a")]}, "b": {"secrets": [whsec("a")]}}},
    {"billing": {"a": {"secrets": ["x"]}, "b": {"secrets": ["x"]}}},
    {"billing": {"a": {"plans": ["s"]}, "b": {}}, "plans": {"s": {}}},
    plan(templates=[]),
    plan(templates=["Debian11", "Debian10.0"]),
    plan(max={"cpu_cores": 2, "mem": 1024, "disk": "10240M", "ip_count": 2}),
    plan(max={"cpu_cores": "1", "mem": True, "disk": "1x"}),
    plan(cpu_cores="4", max={"cpu_cores": 1}),
    {"server": 5, "store": [], "security": "x", "admins": [{}], "billing": {"a": 5}, "plans": {"s": None}},
]


@pytest.mark.parametrize(("tables", "place", "words"), DISAGREE)
def test_disagreement_is_placed(tables: dict[str, Any], place: tuple[str | int, ...], words: str) -> None:
    found = list(disagreements(tables))
    assert [loc for loc, _ in found] == [place]
    assert found[0][1].startswith(words)


@pytest.mark.parametrize("tables", AGREE)
def test_agreeing_tables_pass(tables: dict[str, Any]) -> None:
    assert list(disagreements(tables)) == []


def test_platforms_are_the_union_s() -> None:
    models = AnyBilling.__origin__.__args__  # type: ignore[attr-defined]
    assert {model.model_fields["platform"].annotation.__args__[0]: model for model in models} == PLATFORMS


@pytest.mark.parametrize("model", [RetrySettings, UpstreamSettings])
def test_waits_fit_by_default(model: type[BaseModel]) -> None:
    defaults = {key: field.default for key, field in model.model_fields.items()}
    table = "retry" if model is RetrySettings else "upstream"
    assert list(disagreements({table: defaults})) == []
