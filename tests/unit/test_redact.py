"""Secrets are taken out of JSON, text and pages, and nothing else is."""

from __future__ import annotations

import html
import json
import re
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provisioner.redact import DEEPEST, LONGEST, REDACTED, redact, redact_page, redact_text, scrubber

TOKEN = "1|qpVodrZ3edt0DV4Q81dxQekTAessUHcH0Zjqv4t6"
PASSWORD = "hunter2"
SCRUB = scrubber([TOKEN])

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "Password",
        "root_password",
        "passwd",
        "passphrase",
        "pass",
        "db_pass",
        "pwd",
        "token",
        "admin_token",
        "accessToken",
        "secret",
        "secrets",
        "Authorization",
        "api_key",
        "apiKey",
        "access-key",
        "private_key",
        "encryption_keys",
        "credentials",
        "Set-Cookie",
    ],
)
@pytest.mark.parametrize("value", [PASSWORD, [PASSWORD], {"is": PASSWORD}, 4711])
def test_value_under_secret_name_goes(name: str, value: object) -> None:
    assert redact({"outer": [{name: value, "vmid": 4001}]}) == {"outer": [{name: REDACTED, "vmid": 4001}]}


@pytest.mark.parametrize(
    "name", ["vmid", "ips", "user", "status", "bypass", "passing", "identifier", "error"]
)
def test_other_names_keep_values(name: str) -> None:
    assert redact({name: "running"}) == {name: "running"}


def test_given_secret_goes_from_strings_and_names() -> None:
    assert TOKEN not in json.dumps(redact({"message": f"you sent {TOKEN}", TOKEN: [TOKEN]}, SCRUB))


def test_redacting_leaves_the_original_alone() -> None:
    value = {"password": PASSWORD}
    redact(value)
    assert value == {"password": PASSWORD}


def test_bytes_are_only_counted() -> None:
    assert redact({"body": b"hunter2"}) == {"body": "[7 bytes]"}


def test_very_deep_values_are_cut() -> None:
    value: object = PASSWORD
    for _ in range(DEEPEST + 1):
        value = [value]
    assert PASSWORD not in str(redact(value))
    assert REDACTED in str(redact(value))


@pytest.mark.parametrize(
    "text",
    [
        "password: hunter2",
        "password=hunter2",
        'the "password": "hunter2"',
        '{\\"password\\": \\"hunter2\\"}',
        "password:\n  hunter2",
        "&quot;password&quot;:&quot;hunter2&quot;",
        "<password>hunter2</password>",
        "root_password_new => hunter2",
        "Authorization: Basic hunter2",
        "sent with bearer hunter2",
        "secrets = ['hunter2']",
        "whsec_hunter2",
        "postgresql://provisioner:hunter2@db.example.com/provisioner",
    ],
)
def test_text_that_tells_secret_loses_it(text: str) -> None:
    assert PASSWORD not in redact_text(text)


@pytest.mark.parametrize(
    "text",
    [
        "PUT datacenter/server/4001/password/reset: no answer within 30 s",
        "GET datacenter/server: 401, unauthorized; check the token in [upstream]",
        "see https://example.com/path?mail=a@example.com",
        "0xb1: Missing required parameter template",
    ],
)
def test_text_without_secrets_stays(text: str) -> None:
    assert redact_text(text, SCRUB) == text


@pytest.mark.parametrize(
    "spelling", [TOKEN, quote(TOKEN, safe=""), f"1%7c{TOKEN[2:]}", f"1&#124;{TOKEN[2:]}", TOKEN[2:]]
)
def test_secret_goes_in_every_spelling(spelling: str) -> None:
    assert TOKEN[2:] not in redact_text(f"a page that echoes {spelling} back", SCRUB)


@pytest.mark.parametrize("secret", ['a"b\\c', "a<b&c>d", "a/b c", "x"])
def test_short_secret_goes_in_every_spelling(secret: str) -> None:
    said = f"{secret} {json.dumps(secret)} {html.escape(secret)} {quote(secret, safe='')}"
    redacted = redact_text(said, scrubber([secret]))
    assert redacted.replace('"', "").split() == [REDACTED] * 4


@pytest.mark.parametrize("secrets", [["abcdefghijklmn|xy"], ["abc", "abcdef"], ["abcdef", "abc"]])
def test_nothing_of_the_longest_secret_is_left(secrets: list[str]) -> None:
    assert redact_text(max(secrets, key=len), scrubber(secrets)) == REDACTED


def test_empty_secret_changes_nothing() -> None:
    assert redact_text("all is well", scrubber(["", ""])) == "all is well"


@pytest.mark.parametrize(
    "page",
    [
        "Your new password is hunter2",
        "password\nhunter2",
        "Authorization Basic\thunter2",
        "p\0a\0s\0s\0w\0o\0r\0d\0 \0h\0u\0n\0t\0e\0r\0002\0",
        "<b>token</b> hunter2",
    ],
)
def test_page_ends_where_secret_is_named(page: str) -> None:
    assert PASSWORD not in redact_page(page).replace("\0", "")


@pytest.mark.parametrize("secret", ["sandbox-token", "1|canaryTokenXyz", "my password is x"])
def test_secret_that_names_itself_goes_whole(secret: str) -> None:
    assert redact_page(f"you sent {secret} here", scrubber([secret])) == f"you sent {REDACTED} here"


def test_page_keeps_what_comes_before() -> None:
    assert redact_page("502 Bad Gateway, token hunter2") == f"502 Bad Gateway, token {REDACTED}"


def test_utf_16_page_hides_no_token() -> None:
    page = f"you sent {TOKEN}".encode("utf-16-le").decode("utf-8")
    assert TOKEN not in redact_page(page, SCRUB).replace("\0", "")


@settings(deadline=None)
@given(json_values)
def test_any_json_is_redacted_without_error(value: object) -> None:
    redact({"inner": value, "token": value}, SCRUB)


@given(st.text(), st.text())
def test_secret_never_survives_in_text(before: str, after: str) -> None:
    assert TOKEN not in redact_text(f"{before}{TOKEN}{after}", SCRUB)
    assert TOKEN not in redact_page(f"{before}{TOKEN}{after}", SCRUB)


@pytest.mark.parametrize("piece", ["token", "password=", "bearer ", "://a@", "pass", '"', "[", "whsec_", " "])
@pytest.mark.timeout(5)
def test_long_text_is_redacted_in_linear_time(piece: str) -> None:
    redact_text(piece * (LONGEST // len(piece)), SCRUB)
    redact_page(piece * (LONGEST // len(piece)), SCRUB)


def test_longer_text_is_only_counted() -> None:
    assert redact_text("x" * LONGEST) == "x" * LONGEST
    for redacted in (redact_text("x" * (LONGEST + 1)), redact_page("x" * (LONGEST + 1))):
        assert redacted == f"[{LONGEST + 1} characters]"


def test_scrubber_leaves_the_rest() -> None:
    """It has no opinion about names, and no limit: a rendered log line must stay what it is."""
    line = json.dumps({"token": "word", "detail": f"{'x' * LONGEST} {TOKEN} {quote(TOKEN, safe='')}"})
    assert scrubber([TOKEN])(line) == line.replace(TOKEN, REDACTED).replace(quote(TOKEN, safe=""), REDACTED)
    assert scrubber([])(line) == line
    assert scrubber([""])(line) == line


def test_scrubber_may_make_another_of_its_secrets() -> None:
    """What stands for a secret is no text to look through."""
    assert scrubber([TOKEN, "red", "x"])(f"{TOKEN} red x") == " ".join([REDACTED] * 3)


def test_all_of_the_longer_goes_where_secrets_overlap() -> None:
    assert scrubber(["first", "rstuvw"])("firstuvw") == f"fi{REDACTED}"


@given(st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=4), st.text("abc"))
def test_no_secret_is_left_whole(secrets: list[str], text: str) -> None:
    assert not any(secret in rest for secret in secrets for rest in scrubber(secrets)(text).split(REDACTED))


def test_no_pattern_is_made_of_a_secret() -> None:
    """They are kept for everybody, and for as long as others do not push them out."""
    re.purge()
    redact({"words": redact_page(TOKEN, scrubber([TOKEN]))}, scrubber([TOKEN]))
    assert not [key for key in re._cache if TOKEN[2:] in str(key)]  # type: ignore[attr-defined]
