"""Each single value of the settings: what is accepted, what is refused, and with which words."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from copy import deepcopy
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from provisioner import event_fields
from provisioner.config import Plan, Settings, WhmcsBilling, host_and_port, parse
from provisioner.errors import SettingsError
from provisioner.service import Spec

SECRET = "whsec_" + base64.b64encode(b"k" * 24).decode()
SHORT_SECRET = "whsec_" + base64.b64encode(b"k" * 23).decode()
STRAY_BITS = "whsec_" + base64.b64encode(b"k" * 25).decode().replace("w==", "x==")
KEY = base64.urlsafe_b64encode(b"f" * 32).decode()
VALID: Mapping[str, Any] = {
    "security": {"admin_token": "an-admin-token-16"},
    "admins": {"anna": {"token": "annas-own-token-16", "role": "support"}},
    "upstream": {"token": "reseller-token"},
    "billing": {
        "shop": {"platform": "standard", "secrets": [SECRET], "callback_url": "https://shop.example.com/p"},
        "whmcs": {
            "platform": "whmcs",
            "secrets": ["whsec_" + base64.b64encode(b"w" * 24).decode()],
            "api_url": "https://billing.example.com/includes/api.php",
            "identifier": "an identifier",
            "secret": "an API secret",
        },
    },
    "plans": {"s": {"template": "Debian10.0", "cpu_cores": 2, "mem": 1024, "disk": "10G", "ip_count": 1}},
    "templates": {"Debian10.0": {"label": "Debian 10"}},
}


def read(tables: Mapping[str, Any]) -> Settings:
    return parse(tables, name="config.toml", folder=Path("/etc/provisioner"), environ={})


def changed(path: str, value: object) -> dict[str, Any]:
    """VALID with one value changed; `path` is its keys, separated by spaces."""
    tables: dict[str, Any] = deepcopy(dict(VALID))
    *parents, key = path.split()
    table = tables
    for parent in parents:
        table = table.setdefault(parent, {})
    table[key] = value
    return tables


def at(settings: Settings, path: str) -> Any:
    found: Any = settings
    for key in path.split():
        found = found[key] if isinstance(found, dict) else getattr(found, key)
    return found


def accepts(call: Callable[[], object]) -> bool:
    try:
        call()
    except (SettingsError, ValidationError):
        return False
    return True


def problems(tables: Mapping[str, Any]) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        read(tables)
    return caught.value.problems


WEB = "an http:// or https:// address without user"
TOKEN = "visible ASCII characters without spaces"
ACCEPTED: list[tuple[str, object]] = [
    ("server listen", "127.0.0.1:0"),
    ("server listen", "[::1]:8080"),
    ("server listen", "localhost:65535"),
    ("server public_url", "https://provision.example.com/vps"),
    ("server trusted_proxies", 0),
    ("server trusted_proxies", 10),
    ("server admin_listen", "10.0.0.1:9000"),
    ("upstream base_url", "http://[::1]:9000/api/v1"),
    ("upstream exclusive", True),
    ("upstream timeout", 0.05),
    ("upstream timeout", 600),
    ("upstream max_concurrency", 1),
    ("upstream max_concurrency", 256),
    ("upstream job_poll", 0.1),
    ("upstream settle", 86400),
    ("retry action_ttl", 31536000),
    ("safety max_terminations_per_hour", 0),
    ("safety terminate_grace", 0),
    ("safety suspend_grace", 0),
    ("retention bodies", 1),
    ("retention audit", 36500),
    ("billing shop callback_url", "https://shop.example.com/index.php?route=provisioning"),
    ("billing shop panel colour", "#AbCdEf"),
    ("billing shop panel language", "de"),
    ("billing shop panel logo", "https://shop.example.com/logo.svg"),
    ("billing shop panel support_url", "mailto:help@shop.example.com"),
    ("billing shop panel support_url", "https://shop.example.com/help"),
    ("billing whmcs deliver", "pull"),
    ("billing whmcs on_failure", "nothing"),
    ("billing whmcs welcome_email", ""),
    ("plans s cpu_cores", 1),
    ("plans s cpu_cores", 1024),
    ("plans s mem", 64),
    ("plans s mem", 4194304),
    ("plans s disk", "1M"),
    ("plans s disk", "99999T"),
    ("plans s ip_count", 256),
    ("plans s disk_shrink", "keep"),
    ("plans s label", "VPS S — klein"),
]
REFUSED: list[tuple[str, object, str]] = [
    ("server listen", "127.0.0.1", "does not fit; must be host:port"),
    ("server listen", ":8080", "does not fit; must be host:port"),
    ("server listen", "127.0.0.1:65536", "does not fit; must be host:port"),
    ("server listen", "127.0.0.1:+1", "does not fit; must be host:port"),
    ("server listen", "127.0.0.256:80", "does not fit; must be host:port"),
    ("server listen", "::1:8080", "does not fit; must be host:port"),
    ("server listen", "[::g]:8080", "does not fit; must be host:port"),
    ("server listen", "a b:8080", "does not fit; must be host:port"),
    ("server listen", "", "is empty; must be host:port"),
    ("server listen", 8080, "is a whole number; must be host:port"),
    ("server public_url", "provision.example.com", f"does not fit; must be {WEB}"),
    ("server public_url", "https://", f"does not fit; must be {WEB}"),
    ("server public_url", "https://a:b@example.com", f"does not fit; must be {WEB}"),
    ("server public_url", "https://example.com?x=1", f"does not fit; must be {WEB}"),
    ("server public_url", "https://example.com#x", f"does not fit; must be {WEB}"),
    ("server public_url", "https://example.com:99999", f"does not fit; must be {WEB}"),
    ("server public_url", "https://exa mple.com", f"does not fit; must be {WEB}"),
    ("server public_url", "https://[::1", f"does not fit; must be {WEB}"),
    ("server public_url", 0, f"is a whole number; must be {WEB}"),
    ("server trusted_proxies", -1, "is out of range; must be a whole number from 0 to 10"),
    ("server trusted_proxies", 11, "is out of range; must be a whole number from 0 to 10"),
    ("server trusted_proxies", "1", "is a string; must be a whole number from 0 to 10"),
    ("server trusted_proxies", True, "is true or false; must be a whole number from 0 to 10"),
    ("server trusted_proxies", 1.0, "is a decimal number; must be a whole number from 0 to 10"),
    ("server admin_listen", "9000", "does not fit; must be empty or host:port"),
    ("store url", "sqlite:///:memory:", "does not fit; must be sqlite:/// and"),
    ("store url", "sqlite:///", "does not fit; must be sqlite:/// and"),
    ("store url", "sqlite://x.db", "does not fit; must be sqlite:/// and"),
    ("store url", "sqlite:///x.db?mode=ro", "does not fit; must be sqlite:/// and"),
    ("store url", "sqlite:///folder/", "does not fit; must be sqlite:/// and"),
    ("store url", "sqlite:///a\x00b", "does not fit; must be sqlite:/// and"),
    ("store url", "mysql://h/d", "does not fit; must be sqlite:/// and"),
    ("store url", "postgresql://", "does not fit; must be sqlite:/// and"),
    ("store url", "", "is empty; must be sqlite:/// and"),
    ("security admin_token", "two words", f"does not fit; must be {TOKEN}"),
    ("security admin_token", "with a space in it", f"does not fit; must be {TOKEN}"),
    ("security admin_token", "with-a-newline-in\nit", f"does not fit; must be {TOKEN}"),
    ("security admin_token", "………………………………………………", f"does not fit; must be {TOKEN}"),
    ("security admin_token", "", f"is empty; must be {TOKEN}"),
    ("security admin_token", 1234567890123456, f"is a whole number; must be {TOKEN}"),
    ("security encryption_keys", KEY, "is a string; must be a list of Fernet keys"),
    ("admins anna token", "with space", f"does not fit; must be {TOKEN}"),
    ("admins anna role", "root", 'does not fit; must be "read", "support" or "admin"'),
    ("admins anna role", 1, 'does not fit; must be "read", "support" or "admin"'),
    ("upstream base_url", "ftp://example.com", f"does not fit; must be {WEB}"),
    ("upstream token", "", "is empty; must be the reseller account's token"),
    ("upstream token", "two words", "does not fit; must be the reseller account's token"),
    ("upstream exclusive", "false", "is a string; must be true or false"),
    ("upstream exclusive", 0, "is a whole number; must be true or false"),
    ("upstream timeout", 0, "is out of range; must be a number of seconds above 0 and up to 600"),
    ("upstream timeout", 600.5, "is out of range; must be a number of seconds above 0 and up to 600"),
    ("upstream timeout", float("nan"), "is out of range; must be a number of seconds"),
    ("upstream timeout", float("inf"), "is out of range; must be a number of seconds"),
    ("upstream timeout", "30", "is a string; must be a number of seconds"),
    ("upstream timeout", True, "is true or false; must be a number of seconds"),
    (
        "upstream timeout",
        datetime(2026, 11, 23, tzinfo=UTC),
        "is a date or time; must be a number of seconds",
    ),
    ("upstream max_concurrency", 0, "is out of range; must be a whole number from 1 to 256"),
    ("upstream max_concurrency", 257, "is out of range; must be a whole number from 1 to 256"),
    ("upstream max_concurrency", 10**40, "is out of range; must be a whole number from 1 to 256"),
    ("upstream job_poll", 0, "is out of range; must be a number of seconds above 0 and up to 3600"),
    ("upstream job_timeout", -1, "is out of range; must be a number of seconds above 0 and up to 2592000"),
    ("upstream settle", 0, "is out of range; must be a number of seconds above 0 and up to 86400"),
    ("retry first", 0, "is out of range; must be a number of seconds above 0 and up to 86400"),
    ("retry max", 86401, "is out of range; must be a number of seconds above 0 and up to 86400"),
    ("retry give_up_after", 0, "is out of range; must be a number of seconds above 0 and up to 31536000"),
    ("retry deliveries_give_up_after", 0, "is out of range; must be a number of seconds above 0"),
    ("retry action_ttl", 0, "is out of range; must be a number of seconds above 0"),
    ("safety max_terminations_per_hour", -1, "is out of range; must be a whole number from 0"),
    ("safety max_suspensions_per_hour", -1, "is out of range; must be a whole number from 0"),
    ("safety max_creates_per_hour", -1, "is out of range; must be a whole number from 0"),
    ("safety terminate_grace", -1, "is out of range; must be a number of seconds from 0 to 31536000"),
    ("safety suspend_grace", -1, "is out of range; must be a number of seconds from 0 to 86400"),
    ("retention bodies", 0, "is out of range; must be a whole number from 1 to 36500"),
    ("retention timelines", 0, "is out of range; must be a whole number from 1 to 36500"),
    ("retention audit", 0.5, "is a decimal number; must be a whole number from 1 to 36500"),
    ("alerts urls", "mailto://a", "is a string; must be a list of Apprise addresses"),
    ("alerts heartbeat_url", "example.com", "does not fit; must be empty or an http://"),
    ("hooks directory", 5, "is a whole number; must be empty or a folder's path"),
    ("hooks directory", "a\x00b", "does not fit; must be empty or a folder's path"),
    ("billing shop secrets", [], "is empty; must be a list of whsec_ secrets"),
    ("billing shop secrets", SECRET, "is a string; must be a list of whsec_ secrets"),
    ("billing shop callback_url", "shop.example.com", f"does not fit; must be {WEB}"),
    ("billing shop plans", "s", "is a string; must be a list of plans' names"),
    ("billing shop panel name", "two\nlines", "does not fit; must be one line of text"),
    ("billing shop panel name", "\ud800", "does not fit; must be one line of text"),
    ("billing shop panel colour", "blue", 'does not fit; must be a colour such as "#2563eb"'),
    ("billing shop panel colour", "#2563eb;", 'does not fit; must be a colour such as "#2563eb"'),
    ("billing shop panel logo", "javascript:x", "does not fit; must be empty, an http://"),
    ("billing shop panel support_url", "javascript:x", "does not fit; must be empty, an http://"),
    ("billing shop panel language", "eng", 'does not fit; must be a language of the panel: "en", "de"'),
    ("billing shop panel logo", "logo.exe", "does not fit; must be empty, an http:// or https://"),
    ("billing shop panel logo", "ftp://a.example.com/logo.png", "does not fit; must be empty, an http:// or"),
    ("billing whmcs api_url", "billing", "does not fit; must be empty or an http://"),
    ("billing whmcs access_key", 5, "is a whole number; must be one line of text"),
    ("billing whmcs on_failure", "mail", 'does not fit; must be "notify", "ticket" or "nothing"'),
    ("billing whmcs ticket_department", -1, "is out of range; must be a whole number from 0"),
    ("billing whmcs deliver", "poll", 'does not fit; must be "push" or "pull"'),
    ("billing whmcs welcome_email", ["x"], "is a list; must be one line of text"),
    ("billing shop platform", "shopware", 'does not fit; must be "standard" or "whmcs"'),
    ("billing shop platform", ["whmcs"], 'is a list; must be "standard" or "whmcs"'),
    ("plans s template", "", "is empty; must be a template's name"),
    ("plans s template", " Debian10.0", "does not fit; must be a template's name"),
    ("plans s cpu_cores", 0, "is out of range; must be a whole number from 1 to 1024"),
    ("plans s cpu_cores", 1025, "is out of range; must be a whole number from 1 to 1024"),
    ("plans s mem", 63, "is out of range; must be a whole number from 64 to 4194304"),
    ("plans s mem", 4194305, "is out of range; must be a whole number from 64 to 4194304"),
    ("plans s mem", "1024", "is a string; must be a whole number from 64 to 4194304"),
    ("plans s mem", 1024.0, "is a decimal number; must be a whole number from 64 to 4194304"),
    ("plans s disk", "10", "does not fit; must be a whole number from 1 to 99999 with M, G or T"),
    ("plans s disk", "0G", "does not fit; must be a whole number from 1 to 99999 with M, G or T"),
    ("plans s disk", "100000M", "does not fit; must be a whole number from 1 to 99999 with M, G or T"),
    ("plans s disk", "1.5G", "does not fit; must be a whole number from 1 to 99999 with M, G or T"),
    ("plans s disk", 10, "is a whole number; must be a whole number from 1 to 99999 with M, G or T"),
    ("plans s ip_count", 0, "is out of range; must be a whole number from 1 to 256"),
    ("plans s ip_count", 257, "is out of range; must be a whole number from 1 to 256"),
    ("plans s disk_shrink", "yes", 'does not fit; must be "refuse" or "keep"'),
    ("plans s templates", "Debian10.0", "is a string; must be a list of templates' names"),
    ("templates Debian10.0 label", 10, "is a whole number; must be one line of text"),
]
ITEMS_REFUSED: list[tuple[str, list[object], str]] = [
    ("security encryption_keys", [KEY, KEY[:-4]], "does not fit; must be a Fernet key"),
    ("security encryption_keys", [KEY, "ß"], "does not fit; must be a Fernet key"),
    ("security encryption_keys", [KEY, ""], "is empty; must be a Fernet key"),
    ("alerts urls", ["mailto://a@example.com", "a@example.com"], "does not fit; must be an Apprise address"),
    ("alerts urls", ["mailto://a@example.com", 5], "is a whole number; must be an Apprise address"),
    ("billing shop secrets", [SECRET, SHORT_SECRET], "does not fit; must be whsec_ and"),
    ("billing shop secrets", [SECRET, SECRET[6:]], "does not fit; must be whsec_ and"),
    ("billing shop secrets", [SECRET, SECRET + "!"], "does not fit; must be whsec_ and"),
    ("billing shop secrets", [SECRET, SECRET[:-1]], "does not fit; must be whsec_ and"),
    ("billing shop secrets", [SECRET, STRAY_BITS], "does not fit; must be whsec_ and"),
    ("billing shop secrets", [SECRET, True], "is true or false; must be whsec_ and"),
    ("billing shop plans", ["s", "S"], "does not fit; must be named with 1 to 64 characters"),
    ("plans s templates", ["Debian10.0", ""], "is empty; must be a template's name"),
]


@pytest.mark.parametrize(
    ("path", "option", "values"),
    [
        ("plans s cpu_cores", event_fields.Cores, [0, 1, 1024, 1025, "1", True, 1.0]),
        ("plans s mem", event_fields.Memory, [63, 64, 4194304, 4194305, "64", 64.0]),
        ("plans s disk", event_fields.Disk, ["0G", "1M", "99999T", "100000G", "1.5G", "1g", "01G", 10]),
        ("plans s ip_count", event_fields.IpCount, [0, 1, 256, 257, "1", True]),
    ],
)
def test_plans_and_options_agree(path: str, option: Any, values: list[object]) -> None:
    as_option = TypeAdapter(option)
    for value in values:
        plan, order = (
            partial(read, changed(path, value)),
            partial(as_option.validate_python, value, strict=True),
        )
        assert accepts(plan) == accepts(order), value


@pytest.mark.parametrize(("path", "value"), ACCEPTED)
def test_good_value_is_kept(path: str, value: object) -> None:
    assert at(read(changed(path, value)), path) == value


@pytest.mark.parametrize(("path", "value", "words"), REFUSED)
def test_wrong_value_is_named(path: str, value: object, words: str) -> None:
    *parents, key = (f'"{part}"' if part == "Debian10.0" else part for part in path.split())
    first = problems(changed(path, value))[0]
    assert first.startswith(f"config.toml: [{'.'.join(parents)}] {key}: {words}")


@pytest.mark.parametrize(("path", "value", "words"), ITEMS_REFUSED)
def test_wrong_item_is_counted(path: str, value: list[object], words: str) -> None:
    *parents, key = path.split()
    first = problems(changed(path, value))[0]
    assert first.startswith(f"config.toml: [{'.'.join(parents)}] {key} (item 2): {words}")


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("security admin_token", "[security] admin_token: is needed; must be visible ASCII"),
        ("upstream token", "[upstream] token: is needed; must be the reseller account's token"),
        ("admins anna token", "[admins.anna] token: is needed; must be visible ASCII"),
        ("admins anna role", '[admins.anna] role: is needed; must be "read", "support" or "admin"'),
        ("billing shop platform", '[billing.shop] platform: is needed; must be "standard" or "whmcs"'),
        ("billing shop secrets", "[billing.shop] secrets: is needed; must be a list of whsec_ secrets"),
        ("billing shop callback_url", "[billing.shop] callback_url: is needed; must be an http://"),
        ("plans s template", "[plans.s] template: is needed; must be a template's name"),
        ("plans s cpu_cores", "[plans.s] cpu_cores: is needed; must be a whole number from 1 to 1024"),
        ("plans s mem", "[plans.s] mem: is needed; must be a whole number from 64 to 4194304"),
        ("plans s disk", "[plans.s] disk: is needed; must be a whole number from 1 to 99999"),
        ("plans s ip_count", "[plans.s] ip_count: is needed; must be a whole number from 1 to 256"),
    ],
)
def test_absent_needed_value_is_named(path: str, words: str) -> None:
    tables = changed(path, None)
    *parents, key = path.split()
    table = tables
    for parent in parents:
        table = table[parent]
    del table[key]
    assert [line.startswith(f"config.toml: {words}") for line in problems(tables)] == [True]


@pytest.mark.parametrize("table", ["admins", "billing", "plans"])
@pytest.mark.parametrize("name", ["", "S", "-s", "s s", "s/s", "ä", "s" * 65])
def test_malformed_names_are_refused(table: str, name: str) -> None:
    entry = next(iter(VALID[table].values()))
    shown = name if name in {"S", "-s", "s" * 65} else {"ä": '"\\u00e4"'}.get(name, f'"{name}"')
    expected = f"config.toml: [{table}.{shown}]: does not fit; must be named with 1 to 64 characters"
    if name == "":
        expected = expected.replace("does not fit", "is empty")
    assert any(line.startswith(expected) for line in problems({**VALID, table: {name: entry}}))


@pytest.mark.parametrize("name", ["s", "0", "vps-s_2.0", "s" * 64])
def test_plain_names_are_accepted(name: str) -> None:
    assert list(read({**VALID, "plans": {name: VALID["plans"]["s"]}}).plans) == [name]


def test_nobody_else_is_called_admin() -> None:
    lines = problems({**VALID, "admins": {"admin": VALID["admins"]["anna"]}})
    expected = '[admins.admin]: does not fit; must be another name: "admin" is the one with admin_token'
    assert lines == [f"config.toml: {expected}"]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("server colour", "[server] colour: is no known key; must be one of listen, public_url, trusted_"),
        ("upstream max_concurency", "[upstream] max_concurency: is no known key; did you mean max_conc"),
        ("billing shop callback", "[billing.shop] callback: is no known key; did you mean callback_url?"),
        ("billing whmcs callback_url", "[billing.whmcs] callback_url: is no known key; must be one of"),
        ("billing shop panel color", "[billing.shop.panel] color: is no known key; did you mean colour?"),
        ("plans s max swap", "[plans.s.max] swap: is no known key; must be one of cpu_cores, mem, disk"),
        ("plans s price", "[plans.s] price: is no known key; must be one of template, cpu_cores"),
        ("templates Debian10.0 labels", '[templates."Debian10.0"] labels: is no known key; did you mean l'),
        ("servr", "servr: is no known key; did you mean server?"),
    ],
)
def test_unknown_keys_are_refused(path: str, words: str) -> None:
    assert [line.startswith(f"config.toml: {words}") for line in problems(changed(path, 5))] == [True]


@pytest.mark.parametrize("path", ["server", "plans", "plans s", "plans s max", "billing shop", "templates"])
@pytest.mark.parametrize(("value", "kind"), [("x", "a string"), (5, "a whole number"), ([], "a list")])
def test_only_tables_are_tables(path: str, value: object, kind: str) -> None:
    *parents, key = path.split()
    place = f"[{'.'.join(parents)}] {key}" if parents else key
    assert problems(changed(path, value))[0] == f"config.toml: {place}: is {kind}; must be a table"


def test_unknown_table_is_refused() -> None:
    assert problems(changed("mail", {}))[0].startswith("config.toml: [mail]: is no known key; must be one of")


def test_public_url_defaults_to_listen() -> None:
    assert read(changed("server listen", "[::1]:9000")).server.public_url == "http://[::1]:9000"


@pytest.mark.parametrize("path", ["server public_url", "upstream base_url"])
def test_slash_at_end_is_dropped(path: str) -> None:
    assert at(read(changed(path, "https://example.com/x/")), path) == "https://example.com/x"


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///provisioner.db", "/etc/provisioner/provisioner.db"),
        ("sqlite:///my data/p.db", "/etc/provisioner/my data/p.db"),
        ("sqlite:////var/lib/p.db", "/var/lib/p.db"),
    ],
)
def test_sqlite_path_is_absolute(url: str, path: str) -> None:
    store = read(changed("store url", url)).store
    assert (store.path, store.url.get_secret_value()) == (Path(path), f"sqlite:///{path}")


def test_store_defaults_beside_the_file() -> None:
    assert read(VALID).store.path == Path("/etc/provisioner/provisioner.db")


def test_postgresql_store_has_no_path() -> None:
    url = "postgresql://user:pass@db/provisioner"
    tables = changed("store url", url) | {"security": {**VALID["security"], "encryption_keys": [KEY]}}
    store = read(tables).store
    assert (store.path, store.url.get_secret_value()) == (None, url)


@pytest.mark.parametrize(("value", "folder"), [("", None), ("hooks", Path("/etc/provisioner/hooks"))])
def test_hooks_folder_is_absolute(value: str, folder: Path | None) -> None:
    assert read(changed("hooks directory", value)).hooks.directory == folder


@pytest.mark.parametrize(
    ("address", "parts"),
    [("127.0.0.1:80", ("127.0.0.1", 80)), ("[::1]:0", ("::1", 0)), ("a.example:8080", ("a.example", 8080))],
)
def test_address_has_two_parts(address: str, parts: tuple[str, int]) -> None:
    assert host_and_port(address) == parts


def test_plan_becomes_a_spec() -> None:
    plan = read(VALID).plans["s"]
    assert plan.spec() == Spec(template="Debian10.0", cpu_cores=2, mem=1024, disk="10G", ip_count=1)


def test_defaults_are_the_contract_s() -> None:
    settings = read(VALID)
    plan, shop, whmcs = settings.plans["s"], settings.billing["shop"], settings.billing["whmcs"]
    assert isinstance(plan, Plan)
    assert isinstance(whmcs, WhmcsBilling)
    assert (settings.server.listen, settings.server.trusted_proxies) == ("127.0.0.1:8080", 0)
    assert (settings.upstream.exclusive, settings.upstream.max_concurrency) == (False, 8)
    assert (settings.hooks.directory, settings.alerts.urls) == (None, ())
    assert (shop.plans, shop.panel.colour, shop.panel.language) == ((), "#2563eb", "en")
    assert (whmcs.welcome_email, whmcs.on_failure, whmcs.deliver) == ("New VPS Information", "notify", "push")
    assert (plan.templates, plan.max.mem, plan.disk_shrink) == ((), None, "refuse")


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        read(VALID).upstream.timeout = 5
