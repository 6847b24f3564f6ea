"""From a file to the settings: references, syntax, every mistake at once, and no secret in any of them."""

from __future__ import annotations

import base64
import os
import string
import tomllib
import traceback
from collections.abc import Iterator
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.config import Settings, load, parse
from provisioner.errors import SettingsError

CANARY = "canary"
VALID = f"""
[security]
admin_token = "{CANARY}-admin-token"
encryption_keys = ["{base64.urlsafe_b64encode(CANARY.ljust(32, ".").encode()).decode()}"]
[admins.anna]
token = "{CANARY}-annas-token"
role = "read"
[upstream]
token = "{CANARY}-reseller-token"
[store]
url = "postgresql://user:{CANARY}@db/provisioner"
[alerts]
urls = ["tgram://{CANARY}/1"]
heartbeat_url = "https://heart.example.com/{CANARY}"
[billing.shop]
platform = "standard"
secrets = ["whsec_{base64.b64encode(CANARY.ljust(24, ".").encode()).decode()}"]
callback_url = "https://shop.example.com/provisioning"
plans = ["vps-s"]
[billing.shop.panel]
name = "Shop"
[billing.whmcs]
platform = "whmcs"
secrets = ["whsec_{base64.b64encode(CANARY.ljust(30, ".").encode()).decode()}"]
api_url = "https://billing.example.com/includes/api.php"
identifier = "{CANARY}-identifier"
secret = "{CANARY}-secret"
access_key = "{CANARY}-access-key"
[plans.vps-s]
template = "Debian10.0"
cpu_cores = 1
mem = 1024
disk = "10G"
ip_count = 1
max = {{ mem = 8192 }}
[templates."Debian10.0"]
label = "Debian 10"
"""
CANARIES = (CANARY, base64.b64encode(CANARY.encode()).decode())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(VALID)
    return path


def read(tables: Any, environ: dict[str, str] | None = None) -> Settings:
    return parse(tables, name="config.toml", folder=Path("no such folder"), environ=environ or {})


def problems(path: Path, environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(path, environ or {})
    return [line.removeprefix(f"{path}: ") for line in caught.value.problems]


def leaves(value: Any, place: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    yield place
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(item, (*place, key))


PLACES = [place for place in leaves(tomllib.loads(VALID)) if place]


def with_value(place: tuple[str | int, ...], value: object) -> dict[str, Any]:
    tables = tomllib.loads(VALID)
    table: Any = tables
    for key in place[:-1]:
        table = table[key]
    table[place[-1]] = value
    return tables


def refusal(tables: Any, environ: dict[str, str] | None = None) -> SettingsError | None:
    try:
        read(tables, environ).masked()
    except SettingsError as error:
        return error
    return None


def leaks(text: str) -> bool:
    return any(canary in text for canary in CANARIES)


def test_file_is_loaded(file: Path) -> None:
    settings = load(file, {})
    assert settings.upstream.token.get_secret_value() == f"{CANARY}-reseller-token"


def test_missing_file_names_init(tmp_path: Path) -> None:
    assert problems(tmp_path / "config.toml") == ["is missing; `provisioner init` writes one"]


def test_folder_is_no_file(tmp_path: Path) -> None:
    assert problems(tmp_path)[0].startswith("cannot be read: ")


def test_other_encodings_are_named(file: Path) -> None:
    file.write_bytes("# für alle".encode("latin-1"))
    assert problems(file) == ["is no UTF-8 at byte 3; must be saved as UTF-8"]


def test_windows_editors_are_understood(file: Path) -> None:
    file.write_bytes(b"\xef\xbb\xbf" + VALID.replace("\n", "\r\n").encode())
    assert load(file, {}).admins["anna"].role == "read"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a = 1\nb = \n", "is no TOML: Invalid value (at line 2, "),
        ("a = 1\na = 2\n", "is no TOML: Cannot overwrite a value (at line 2, "),
        ("a = 1\nb = [", "is no TOML: Invalid value (at line 2, the last)"),
        ("a = " + "9" * 5000, "is no TOML: "),
        ("a = " + "[" * 100_000, "is nested too deeply"),
    ],
)
def test_syntax_error_has_its_line(file: Path, text: str, words: str) -> None:
    file.write_text(text)
    (line,) = problems(file)
    assert line.startswith(words)


def test_deeply_dotted_key_is_refused(file: Path) -> None:
    file.write_text("a" + ".a" * 2000 + " = 1\n" + VALID)
    assert [line[:24] for line in problems(file)] == ["[a]: is no known key; mu"]


def test_variable_is_read(file: Path) -> None:
    file.write_text(VALID.replace("tgram://canary/1", "env:ALERTS"))
    settings = load(file, {"ALERTS": "mailto://a@example.com"})
    assert [url.get_secret_value() for url in settings.alerts.urls] == ["mailto://a@example.com"]


@pytest.mark.parametrize(
    ("content", "value"), [("s3cret", "s3cret"), ("s3cret\n", "s3cret"), ("s3cret\r\n", "s3cret")]
)
def test_file_beside_is_read(file: Path, content: str, value: str) -> None:
    (file.parent / "secrets").mkdir()
    (file.parent / "secrets" / "token").write_bytes(content.encode())
    file.write_text(VALID.replace("canary-reseller-token", "file:secrets/token"))
    assert load(file, {}).upstream.token.get_secret_value() == value


def test_only_one_newline_is_dropped(file: Path) -> None:
    (file.parent / "label").write_text("two lines\n\n")
    file.write_text(VALID.replace('"Debian 10"', '"file:label"'))
    assert problems(file) == ['[templates."Debian10.0"] label: does not fit; must be one line of text']


def test_read_value_is_no_reference(file: Path) -> None:
    file.write_text(VALID.replace('"Debian 10"', '"env:LABEL"'))
    assert load(file, {"LABEL": "env:OTHER"}).templates["Debian10.0"].label == "env:OTHER"


def test_variable_is_always_text(file: Path) -> None:
    file.write_text(VALID.replace("mem = 1024", 'mem = "env:MEM"'))
    assert problems(file, {"MEM": "1024"})[0].startswith("[plans.vps-s] mem: is a string; must be a whole")


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("env:NOT_SET", "names the environment variable NOT_SET, which is not set; must be set"),
        ("env:", 'names the environment variable "", which is not set; must be set'),
        ("file:absent", 'names "{folder}/absent", which is no file; must be a file with the value'),
        ("file:", 'names "{folder}", which is no file; must be a file with the value'),
        ("file:pipe", 'names "{folder}/pipe", which is no file; must be a file with the value'),
        ("file:binary", 'names "{folder}/binary", which is no text; must be UTF-8'),
        ("file:a\\u0000b", 'names "{folder}/a\\u0000b", which is no file; must be a file with the value'),
    ],
)
@pytest.mark.parametrize(
    ("written", "place"),
    [
        ('"canary-reseller-token"', "[upstream] token"),
        ('"tgram://canary/1"', "[alerts] urls (item 1)"),
        ('"whmcs"', "[billing.whmcs] platform"),
        ("8192", "[plans.vps-s.max] mem"),
    ],
)
def test_unread_reference_is_named(file: Path, reference: str, words: str, written: str, place: str) -> None:
    os.mkfifo(file.parent / "pipe")
    (file.parent / "binary").write_bytes(b"\xff\xfe")
    file.write_text(VALID.replace(written, f'"{reference}"'))
    assert problems(file) == [f"{place}: {words.replace('{folder}', str(file.parent))}"]


def test_unreadable_file_says_why(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = file.parent / "token"
    secret.write_text("x")

    def refused(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    text = VALID.replace("canary-reseller-token", "file:token")
    monkeypatch.setattr(Path, "read_text", refused)
    with pytest.raises(SettingsError) as caught:
        parse(tomllib.loads(text), name="config.toml", folder=file.parent, environ={})
    expected = f'names "{secret}", which cannot be read: Permission denied; must be readable for this user'
    assert caught.value.problems == [f"config.toml: [upstream] token: {expected}"]


def test_every_mistake_comes_at_once(file: Path) -> None:
    file.write_text("""
        [server]
        listen = 8080
        [security]
        admin_token = "env:NOT_SET"
        [billing.shop]
        platform = "standart"
        secrets = ["x"]
        plans = ["m"]
        [plans.s]
        mem = "1G"
        max = { disk = "1G" }
        disk = "2G"
        template = "Debian10.0"
        ip_count = 1
        [plan.m]
        """)
    assert [line.partition(": ")[0] for line in problems(file)] == [
        "[security] admin_token",
        "[server] listen",
        "[upstream] token",
        "[billing.shop] secrets (item 1)",
        "[billing.shop] platform",
        "[plans.s] cpu_cores",
        "[plans.s] mem",
        "[plan]",
        "[billing.shop] plans (item 1)",
        "[plans.s.max] disk",
    ]


def test_no_table_hides_nothing() -> None:
    error = refusal(with_value(("security",), 5))
    assert error
    lines = [line[:48] for line in error.problems]
    assert lines == [
        "config.toml: security: is a whole number; must b",
        "config.toml: [security] encryption_keys: is need",
    ]


def test_secrets_show_nowhere(file: Path) -> None:
    settings = load(file, {})
    shown = [settings.masked(), settings, settings.model_dump(), settings.model_dump_json()]
    shown += [settings.store, settings.security, settings.alerts, *settings.billing.values()]
    assert [text for text in map(repr, shown) if leaks(text)] == []
    assert not leaks(str(settings))


def test_masked_shows_what_is_set(file: Path) -> None:
    masked = load(file, {}).masked()
    assert masked["security"] == {"admin_token": "••••", "encryption_keys": ["••••"]}
    assert masked["admins"] == {"anna": {"token": "••••", "role": "read"}}
    assert masked["store"] == {"url": "postgresql://••••"}
    assert masked["alerts"] == {"urls": ["••••"], "heartbeat_url": "••••"}
    assert masked["upstream"]["token"] == "••••"
    assert repr(masked["upstream"]["timeout"]) == "30"
    whmcs = masked["billing"]["whmcs"]
    assert [whmcs[key] for key in ("secrets", "identifier", "secret", "access_key")] == [
        ["••••"],
        *["••••"] * 3,
    ]


@pytest.mark.parametrize(("written", "shown"), [("45", "45"), ("45.0", "45"), ("0.5", "0.5")])
def test_masked_durations_are_short(file: Path, written: str, shown: str) -> None:
    file.write_text(VALID.replace("[upstream]", f"[upstream]\ntimeout = {written}"))
    assert repr(load(file, {}).masked()["upstream"]["timeout"]) == shown


def test_relative_folder_is_resolved() -> None:
    tables = with_value(("store", "url"), "sqlite:///p.db")
    assert read(tables).store.path == Path.cwd() / "no such folder" / "p.db"


def test_masked_shows_what_is_empty(file: Path) -> None:
    file.write_text(VALID.replace(f"{CANARY}-access-key", ""))
    assert load(file, {}).masked()["billing"]["whmcs"]["access_key"] == ""


def test_masked_shows_the_sqlite_file(file: Path) -> None:
    file.write_text(VALID.replace(f"postgresql://user:{CANARY}@db/provisioner", "sqlite:////srv/p.db"))
    assert load(file, {}).masked()["store"] == {"url": "sqlite:////srv/p.db"}


@pytest.mark.parametrize("place", PLACES, ids=lambda place: ".".join(map(str, place)))
@pytest.mark.parametrize("value", [f"{CANARY} ö", f"{CANARY}\n", [CANARY], {"key": CANARY}])
def test_misplaced_secret_is_not_told(place: tuple[str | int, ...], value: object) -> None:
    free = {"identifier", "secret", "access_key", "name", "label", "template"}
    error = refusal(with_value(place, deepcopy(value)))
    assert error or place[-1] in free
    assert not leaks("".join(traceback.format_exception(error)))


def test_any_key_fits_on_its_line() -> None:
    tables = tomllib.loads(VALID)
    tables["plans"] = {"a\nb": 5}
    tables["admins"] |= {
        "c\nd": tables["admins"]["anna"],
        "anna\n": {"token": "x" * 16},
        "e": {"token": "x" * 16},
    }
    tables["billing"]["shop\n"] = tables["billing"].pop("shop")
    tables["billing"]["shop"] = tables["billing"]["shop\n"]
    error = refusal(tables)
    assert error
    assert [line for line in error.problems if not line.isprintable()] == []
    assert 'the plans: "a\\nb"' in str(error)


def test_variable_s_secret_is_not_told() -> None:
    error = refusal(with_value(("upstream", "token"), "env:TOKEN"), {"TOKEN": f"{CANARY} with spaces"})
    assert error
    assert not leaks("".join(traceback.format_exception(error)))


KEYS = sorted({key for place in PLACES for key in place if isinstance(key, str)})
KEY = st.sampled_from(KEYS) | st.text(string.printable, max_size=3) | st.just("[key]") | st.text(max_size=2)
LEAF = (
    st.text(max_size=8)
    | st.sampled_from(["env:X", "file:x", "file:\0", "whmcs", "standard", "postgresql://x", "\ud800", "1G"])
    | st.integers()
    | st.floats()
    | st.booleans()
    | st.just(datetime(2026, 11, 23, tzinfo=UTC))
    | st.just(10**400)
)
VALUE = st.recursive(
    LEAF, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEY, inner, max_size=4), max_leaves=12
)


@given(st.dictionaries(KEY, VALUE, max_size=6))
def test_any_tables_raise_settings_errors(tables: dict[str, Any]) -> None:
    with pytest.raises(SettingsError) as caught:
        read(tables)
    assert all(line.isprintable() for line in caught.value.problems)


@given(st.sampled_from(PLACES), VALUE)
def test_any_value_raises_settings_errors(place: tuple[str | int, ...], value: object) -> None:
    error = refusal(with_value(place, value))
    assert all(line.isprintable() for line in (error.problems if error else []))


@given(st.text(max_size=40))
def test_any_text_raises_settings_errors(text: str) -> None:
    try:
        tables = tomllib.loads(text)
    except ValueError:
        return
    with pytest.raises(SettingsError):
        read(tables)
