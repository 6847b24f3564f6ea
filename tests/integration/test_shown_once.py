"""A password reset from the panel is kept for that session until it was shown, fifteen minutes at most."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from cryptography.fernet import Fernet

from provisioner.engine.accept import Request
from provisioner.engine.shown_once import FACT
from provisioner.event_models import Bare
from provisioner.operation import Kind, State
from provisioner.sandbox import upstream as sandbox_upstream
from provisioner.upstream import Credentials
from tests.heard import capture_logs

SESSION = "0123456789abcdef"


@pytest.fixture
def canaries(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every password that the upstream gives, as it gives it."""
    given: list[str] = []
    numbers = count(1)

    def new_password() -> str:
        given.append(f"canary{next(numbers)}-/ü")
        return given[-1]

    monkeypatch.setattr(sandbox_upstream, "new_password", new_password)
    return given


@pytest.fixture
def active(world: Any, canaries: list[str]) -> Any:
    world.done(world.order())
    return world


def reset(world: Any, session: str = SESSION) -> str:
    request = Request(
        "shop", "1001", Kind.RESET_PASSWORD, Bare(), "panel:shop:client:7", session=session
    )  # fmt: skip
    return str(world.app.accept.action(request).id)


def kept(world: Any) -> dict[str, Any]:
    found: dict[str, Any] = world.app.store.read(lambda verbs: verbs.facts_like(FACT))
    return found


def show(world: Any, session: str = SESSION) -> Credentials | None:
    shown: Credentials | None = world.app.shown_once.show("shop", "1001", session)
    return shown


def test_new_password_is_shown_once_and_delivered_as_ever(active: Any, canaries: list[str]) -> None:
    assert active.done(reset(active)).state is State.SUCCEEDED
    assert active.told()[-1].data["password"] == canaries[-1]
    assert active.app.shown_once.is_kept("shop", "1001", SESSION)
    shown = show(active)
    assert shown is not None
    assert (shown.username, shown.password) == ("root", canaries[-1])
    assert not active.app.shown_once.is_kept("shop", "1001", SESSION)
    assert show(active) is None
    assert kept(active) == {}


def test_it_is_shown_although_the_billing_system_is_away(active: Any, canaries: list[str]) -> None:
    active.billing.answer_with(500, times=100)
    operation = reset(active)
    active.run(60, until=lambda: active.operation(operation).state is State.DELIVERING)
    assert show(active) == Credentials("root", canaries[-1])


def test_another_session_sees_nothing_and_takes_nothing_away(active: Any) -> None:
    active.done(reset(active))
    assert not active.app.shown_once.is_kept("shop", "1001", "another")
    assert show(active, "another") is None
    assert show(active) is not None


def test_value_put_under_another_session_does_not_open(active: Any) -> None:
    """The seal itself names the session: a row that is altered tells nobody a password."""
    active.done(reset(active))
    ((name, value),) = kept(active).items()
    active.app.store.write(lambda verbs: verbs.set_fact(name, {**value, "session": "thief"}, 0))
    with capture_logs() as logs:
        assert show(active, "thief") is None
    assert [line["event"] for line in logs] == ["password_not_shown"]


def test_nothing_is_kept_for_a_reset_from_elsewhere(active: Any) -> None:
    active.done(active.event("service.reset_password"))
    assert kept(active) == {}


def test_later_password_from_elsewhere_erases_what_is_kept(active: Any) -> None:
    active.done(reset(active))
    active.done(active.event("service.reinstall"))
    assert kept(active) == {}


def test_after_fifteen_minutes_nothing_is_shown_nor_kept(active: Any) -> None:
    active.done(reset(active))
    active.clock.advance(15 * 60 - 1)
    active.app.shown_once.erase_old()
    assert kept(active)
    active.clock.advance(1)
    assert not active.app.shown_once.is_kept("shop", "1001", SESSION)
    active.app.shown_once.erase_old()
    assert kept(active) == {}


def test_too_late_is_too_late_before_the_tick_too(active: Any) -> None:
    active.done(reset(active))
    active.clock.advance(15 * 60)
    assert show(active) is None
    assert kept(active) == {}


def test_tick_that_erases_it_is_wired(active: Any) -> None:
    (tick,) = [tick for tick in active.app.worker.ticks if tick.do == active.app.shown_once.erase_old]
    assert tick.every_s <= 15


def test_termination_and_unlinking_erase_it(active: Any) -> None:
    active.done(reset(active))
    active.done(active.event("service.terminate", immediate=True))
    assert kept(active) == {}
    active.done(active.order(recreate=True))
    active.done(reset(active))
    active.app.bindings.unlink("shop", "1001", "admin:anna")
    assert kept(active) == {}


def test_erasure_forgets_it(active: Any) -> None:
    active.done(active.event("service.terminate", immediate=True))
    value = {"session": SESSION, "sealed": "x", "at": active.clock.now}
    active.app.store.write(lambda verbs: verbs.set_fact(f"{FACT}shop/1001", value, active.clock.now))
    active.app.erasure.erase("shop", "1001", "admin:anna", dry=False)
    assert kept(active) == {}


@pytest.fixture
def with_key_file(worlds: Callable[..., Any]) -> Any:
    keys = [Fernet.generate_key().decode()]
    world = worlds(security={"admin_token": "an-admin-token-of-tests", "encryption_keys": keys})
    world.done(world.order())
    world.done(reset(world))
    return world


def test_rotated_keys_seal_it_anew(with_key_file: Any) -> None:
    world = with_key_file
    (before,) = kept(world).values()
    old = world.tables["security"]["encryption_keys"]
    world.tables["security"]["encryption_keys"] = [Fernet.generate_key().decode(), *old]
    world.reopen()
    assert world.app.rotation.rotate() == 1
    (after,) = kept(world).values()
    assert (after["at"], after["session"]) == (before["at"], before["session"])
    assert after["sealed"] != before["sealed"]
    world.tables["security"]["encryption_keys"] = world.tables["security"]["encryption_keys"][:1]
    world.reopen()
    assert show(world) is not None


def test_what_no_key_opens_is_forgotten(with_key_file: Any) -> None:
    world = with_key_file
    world.tables["security"]["encryption_keys"] = [Fernet.generate_key().decode()]
    world.reopen()
    world.app.rotation.forget_unreadable("admin:anna")
    assert kept(world) == {}


def test_password_is_in_nothing_but_what_shows_it(
    active: Any, canaries: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """No timeline, no error, no log line, no audit and no file, before it was shown and after."""
    caplog.set_level(logging.DEBUG)

    def in_files() -> list[str]:
        words = [one.encode() for one in canaries] + [b"canary"]
        return [file.name for file in active.folder.iterdir() for word in words if word in file.read_bytes()]

    with capture_logs() as logs:
        operation = reset(active)
        active.done(operation)
        ((_, value),) = kept(active).items()
        assert in_files() == []
        shown = show(active)
        assert shown is not None
        assert shown.password not in repr(shown)
    timeline = active.timeline(operation)
    lines = active.app.store.read(lambda verbs: verbs.audit(100, None))
    told = "\n".join([*map(repr, logs), caplog.text, *timeline, *map(repr, lines)])
    assert re.findall(r"canary\d+", told) == []
    active.app.store.close()
    sealed = value["sealed"].encode()
    assert [file.name for file in active.folder.iterdir() if sealed in file.read_bytes()] == []
    assert in_files() == []
    active.open()
