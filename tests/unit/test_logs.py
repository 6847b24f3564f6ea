"""Logs: one line for each event, ours and the libraries' alike, and no secret in any of them."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel, SecretStr

from provisioner.logs import QUIET, Log, configure, secret_values

SECRET = "canary-secret-0123456789"


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Logging belongs to the whole process, so that other tests find it as it was."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    levels = {name: logging.getLogger(name).level for name in QUIET}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, was in levels.items():
        logging.getLogger(name).setLevel(was)


class Lines(io.StringIO):
    """What was logged."""

    def parsed(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.getvalue().splitlines()]


def configured(level: str = "info", *, as_json: bool = True, secrets: tuple[str, ...] = (SECRET,)) -> Lines:
    lines = Lines()
    configure(level, as_json, secrets=secrets, stream=lines)
    return lines


def test_our_events_are_json() -> None:
    lines = configured()
    Log("provisioner.worker").warning("claim_failed", dispatcher="operations", tries=3)
    (line,) = lines.parsed()
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "claim_failed",
        "level": "warning",
        "logger": "provisioner.worker",
        "dispatcher": "operations",
        "tries": 3,
    }


def test_libraries_log_alike() -> None:
    lines = configured()
    logging.getLogger("waitress").warning("%d thread(s) still running", 2)
    (line,) = lines.parsed()
    assert (line["event"], line["level"], line["logger"]) == (
        "2 thread(s) still running",
        "warning",
        "waitress",
    )


@pytest.mark.parametrize(
    ("name", "level", "heard"),
    [
        ("apscheduler.executors.default", "info", False),
        ("apscheduler.scheduler", "warning", True),
        ("urllib3.connectionpool", "debug", False),
        ("werkzeug", "info", False),
        ("waitress.queue", "warning", False),
        ("waitress.queue", "error", True),
        ("provisioner", "debug", True),
    ],
)
def test_chatty_libraries_are_quiet(name: str, level: str, heard: bool) -> None:
    lines = configured("debug")
    getattr(logging.getLogger(name), level)("something")
    assert bool(lines.parsed()) == heard


@pytest.mark.parametrize(("level", "heard"), [("debug", 3), ("info", 2), ("WARNING", 1), ("error", 0)])
def test_level_decides_what_is_logged(level: str, heard: int) -> None:
    lines = configured(level)
    log = Log("provisioner")
    logging.getLogger("provisioner").debug("one")
    log.info("two")
    log.warning("three")
    assert len(lines.parsed()) == heard


def test_unknown_level_is_refused() -> None:
    with pytest.raises(ValueError, match="NOSUCH"):
        configured("nosuch")


def test_configured_twice_logs_once() -> None:
    former, lines = configured(), configured()
    Log("provisioner").info("once")
    assert (len(former.parsed()), len(lines.parsed())) == (0, 1)


@pytest.mark.parametrize("as_json", [True, False])
@pytest.mark.parametrize(
    "fields",
    [
        {"password": "canary"},
        {"token": "canary"},
        {"webhook_secret": "canary"},
        {"Authorization": "Bearer canary"},
        {"body": "canary"},
        {"answer": {"output": {"password": "canary"}}},
        {"url": "postgresql://user:canary@host/db"},
        {"detail": "the header was Authorization: Bearer canary"},
        {"detail": f"GET /?key={SECRET}"},
        {"detail": {"list": [SECRET]}},
        {SECRET: 1},
        {"object": SecretStr("canary")},
    ],
)
def test_secrets_are_taken_out(fields: dict[str, Any], as_json: bool) -> None:
    lines = configured(as_json=as_json)
    Log("provisioner").info("called", **fields)
    assert "called" in lines.getvalue()
    assert "canary" not in lines.getvalue()


class Shy:
    """What shows its secret only when it is rendered."""

    def __repr__(self) -> str:
        return f"Shy({SECRET})"


@pytest.mark.parametrize("as_json", [True, False])
def test_rendered_secret_is_taken_out(as_json: bool) -> None:
    lines = configured(as_json=as_json)
    Log("provisioner").info("seen", thing=Shy())
    logging.getLogger("library").error("said %s", SECRET)
    assert lines.getvalue().count("[redacted]") == 2
    assert "canary" not in lines.getvalue()


@pytest.mark.parametrize("as_json", [True, False])
def test_traces_tell_no_secret(as_json: bool) -> None:
    """Neither in the error's words nor by the values of local variables."""
    lines = configured(as_json=as_json)
    local = "canary-of-a-local"

    def breaks() -> None:
        raise ValueError(f"{len(local)} with {SECRET}")

    for log in (Log("provisioner"), logging.getLogger("library")):
        try:
            breaks()
        except ValueError:
            log.exception("broke")
    text = lines.getvalue()
    assert text.count("ValueError: 17 with [redacted]") == 2
    assert text.count("Traceback") == 2
    assert "canary" not in text


def test_line_stays_one_line() -> None:
    lines = configured(as_json=False)
    Log("provisioner").info("got", detail="one\ntwo [error] forged")
    assert len(lines.getvalue().splitlines()) == 1


def test_console_has_no_colours_in_a_file() -> None:
    lines = configured(as_json=False)
    Log("provisioner").error("broke")
    assert "\x1b" not in lines.getvalue()


class Inner(BaseModel):
    keys: tuple[SecretStr, ...] = (SecretStr("first-key-value"), SecretStr("second-key-value"))
    short: SecretStr = SecretStr("short")
    name: str = "not a secret"


class Outer(BaseModel):
    url: SecretStr = SecretStr("sqlite:////folder/provisioner.db")
    inner: Inner = Inner()
    more: dict[str, Inner] = {"one": Inner(short=SecretStr("long enough"))}


def test_settings_tell_their_secrets() -> None:
    assert secret_values(Outer()) == ["first-key-value", "long enough", "second-key-value"]


@pytest.mark.parametrize("extra", [{"fields": ["no mapping"]}, {"provisioner_fields": ["no mapping"]}])
def test_line_of_others_with_fields_says_no_secret(
    extra: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where it cannot be rendered: the standard library would say it raw."""
    lines = configured()
    logging.getLogger("lib").warning("said %s", SECRET, extra=extra)
    said = lines.getvalue() + "".join(capsys.readouterr())
    assert "lib" in said
    assert SECRET not in said


def test_stream_that_is_gone_breaks_nobody() -> None:
    configured().close()
    Log("provisioner").error("claim_failed")
