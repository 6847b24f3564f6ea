"""config.example.toml loads, names every key, and shows the defaults that hold."""

from __future__ import annotations

import base64
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest
from pydantic import BaseModel

from provisioner.config import Settings, load, parse

EXAMPLE = Path(__file__).parents[2] / "config.example.toml"
ENVIRON = {
    "PROVISIONER_ADMIN_TOKEN": "an-admin-token-of-24-chars",
    "ANNA_TOKEN": "annas-own-token-16",
    "VENOCIX_TOKEN": "reseller-token",
    "SHOP_WEBHOOK_SECRET": "whsec_" + base64.b64encode(b"s" * 24).decode(),
    "WHMCS_WEBHOOK_SECRET": "whsec_" + base64.b64encode(b"w" * 24).decode(),
    "WHMCS_API_IDENTIFIER": "identifier",
    "WHMCS_API_SECRET": "secret",
}
NAMED = ("admins.", "billing.", "plans.", "templates.")  # tables whose keys are names


@pytest.fixture
def tables() -> dict[str, Any]:
    return tomllib.loads(EXAMPLE.read_text(encoding="utf-8"))


def known_keys(annotation: Any, path: str = "") -> Iterator[str]:
    """The path of every key that the models under a type have, such as `plans.*.max.mem`."""
    if get_origin(annotation) is Mapping:
        yield from known_keys(get_args(annotation)[1], f"{path}*.")
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        for key, field in annotation.model_fields.items():
            yield f"{path}{key}"
            yield from known_keys(field.annotation, f"{path}{key}.")
    else:
        for part in get_args(annotation):
            yield from known_keys(part, path)


def written_keys(table: dict[str, Any], path: str = "") -> Iterator[str]:
    """The path of every key that the file has, in the same form."""
    for key, value in table.items():
        if path not in NAMED:
            yield f"{path}{key}"
        if isinstance(value, dict):
            yield from written_keys(value, f"{path}{'*' if path in NAMED else key}.")


def variables(value: Any) -> Iterator[str]:
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from variables(item)
    elif isinstance(value, str) and value.startswith("env:"):
        yield value.removeprefix("env:")


def differing(one: dict[str, Any], other: dict[str, Any], path: str = "") -> Iterator[str]:
    for key, value in one.items():
        if isinstance(value, dict) and key in other:
            yield from differing(value, other[key], f"{path}{key}.")
        elif key not in other or value != other[key]:
            yield f"{path}{key}"


def test_example_loads() -> None:
    settings = load(EXAMPLE, ENVIRON)
    assert (list(settings.billing), list(settings.plans)) == (["shop", "whmcs"], ["vps-s"])


def test_example_names_every_key(tables: dict[str, Any]) -> None:
    assert set(known_keys(Settings)) == set(written_keys(tables))
    assert {
        "retry.first",
        "admins.*.role",
        "billing.*.deliver",
        "billing.*.panel.logo",
        "plans.*.max.mem",
    } < set(known_keys(Settings))


def test_example_shows_the_defaults(tables: dict[str, Any]) -> None:
    shop, whmcs, plan = tables["billing"]["shop"], tables["billing"]["whmcs"], tables["plans"]["vps-s"]
    needed = {
        "security": {"admin_token": "env:PROVISIONER_ADMIN_TOKEN"},
        "upstream": {"token": "env:VENOCIX_TOKEN"},
        "billing": {
            "shop": {key: shop[key] for key in ("platform", "secrets", "callback_url")},
            "whmcs": {key: whmcs[key] for key in ("platform", "secrets", "api_url", "identifier", "secret")},
        },
        "plans": {"vps-s": {key: plan[key] for key in ("template", "cpu_cores", "mem", "disk", "ip_count")}},
    }
    defaults = parse(needed, name="", folder=EXAMPLE.parent, environ=ENVIRON).masked()
    assert set(differing(load(EXAMPLE, ENVIRON).masked(), defaults)) == {
        "server.public_url",
        "admins.anna",
        "billing.shop.panel.name",
        "plans.vps-s.label",
        "plans.vps-s.max.cpu_cores",
        "plans.vps-s.max.mem",
        "plans.vps-s.max.disk",
        "plans.vps-s.max.ip_count",
        "templates.Debian10.0",
    }


def test_example_needs_these_variables(tables: dict[str, Any]) -> None:
    assert set(variables(tables)) == set(ENVIRON)
