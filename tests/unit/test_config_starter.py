"""The config.toml that `init` writes."""

from __future__ import annotations

import base64
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.config import FreshSecrets, Settings, StandardBilling, fresh_secrets, parse, starter
from provisioner.errors import SettingsError

FRESH = FreshSecrets(
    admin_token="fresh-admin-token", webhook_secret="whsec_" + base64.b64encode(b"k" * 24).decode()
)


def read(text: str, environ: dict[str, str]) -> Settings:
    return parse(tomllib.loads(text), name="config.toml", folder=Path("/etc/provisioner"), environ=environ)


def test_safe_answers_need_one_variable() -> None:
    settings = read(starter(FRESH), {"VENOCIX_TOKEN": "the-token"})
    assert settings.upstream.token.get_secret_value() == "the-token"
    with pytest.raises(SettingsError, match="VENOCIX_TOKEN, which is not set"):
        read(starter(FRESH), {})


def test_answers_are_written() -> None:
    text = starter(
        FRESH,
        public_url="https://p.example.com",
        listen="0.0.0.0:80",
        callback_url="https://s.example.com/x",
        upstream_base_url="http://127.0.0.1:9000/api/v1",
        upstream_token="sandbox-token",
        template="Ubuntu",
    )
    settings = read(text, {})
    shop, plan = settings.billing["shop"], settings.plans["vps-s"]
    assert isinstance(shop, StandardBilling)
    assert (settings.server.public_url, settings.server.listen) == ("https://p.example.com", "0.0.0.0:80")
    assert shop.callback_url == "https://s.example.com/x"
    assert settings.upstream.base_url == "http://127.0.0.1:9000/api/v1"
    assert settings.upstream.token.get_secret_value() == "sandbox-token"
    assert plan.template == "Ubuntu"
    assert settings.security.admin_token.get_secret_value() == FRESH.admin_token
    assert [secret.get_secret_value() for secret in shop.secrets] == [FRESH.webhook_secret]


def test_text_is_short_to_read() -> None:
    assert len(starter(FRESH).splitlines()) < 35


def test_fresh_secrets_are_fresh() -> None:
    one, two = fresh_secrets(), fresh_secrets()
    assert one.admin_token != two.admin_token
    assert one.webhook_secret != two.webhook_secret


def test_fresh_secrets_are_accepted() -> None:
    fresh = fresh_secrets()
    settings = read(starter(fresh), {"VENOCIX_TOKEN": "x"})
    assert settings.security.admin_token.get_secret_value() == fresh.admin_token


def test_fresh_secrets_show_nowhere() -> None:
    assert FRESH.admin_token not in repr(FRESH)
    assert FRESH.webhook_secret not in repr(FRESH)


@given(
    st.text(st.characters(exclude_categories=["Cs"]))
    | st.sampled_from(['"', "\\", "\x7f", "\r\n", "'''", "{}"])
)
def test_any_answer_is_quoted(answer: str) -> None:
    assert tomllib.loads(starter(FRESH, upstream_token=answer))["upstream"]["token"] == answer
