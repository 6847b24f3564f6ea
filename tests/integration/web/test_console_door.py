"""Who comes into the console, for how long, and what every page says to the browser."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.test import Client

from provisioner.errors import StoreUnavailable
from provisioner.vault import Vault
from provisioner.web import Side, create_app
from provisioner.web.application import ASSETS
from provisioner.web.browser.signed import Signed
from provisioner.web.console.door import ALL_TRIES, MOST_BYTES, PEER_TRIES, TRIES
from tests.heard import capture_logs

TOKENS = {
    "admin": "admin-token-0123456789",
    "anna": "anna-token-0123456789",
    "rudi": "rudi-token-0123456789",
    "olga": "olga-token-0123456789",
}
ROLES = {"admin": "admin", "anna": "support", "rudi": "read", "olga": "admin"}
HOUR_S = 3600
PAGES = (
    "", "/operations", "/services", "/events", "/reconciliation", "/brakes", "/plans", "/audit", "/settings",
)  # fmt: skip


def wait(stage: Any, seconds: float) -> None:
    stage.clock.ms += round(seconds * 1000)


def stranger(stage: Any) -> Any:
    """Somebody with a browser who is not signed in."""
    person = stage.person()
    person.browser.delete_cookie("provisioner_console", path="/admin")
    return person


def is_in(person: Any) -> bool:
    status = person.get("/admin/plans").status_code
    assert status in (200, 303)
    return bool(status == 200)


# Signing in


@pytest.mark.parametrize("name", TOKENS)
def test_each_person_signs_in_with_an_own_token(lasting: Any, name: str) -> None:
    person = lasting.person(f" {TOKENS[name]} ")
    assert f"{name} ({ROLES[name]})" in person.page("/admin").text
    line = lasting.audit()[-1]
    assert (line.action, line.actor, line.address) == ("person.signed_in", f"admin:{name}", "127.0.0.1")


@pytest.mark.parametrize(
    "token", ["", "x", "admin-token-012345678", "ADMIN-TOKEN-0123456789", "ü\0", "x" * 9999]
)
def test_nobodys_token_lets_nobody_in(lasting: Any, token: str) -> None:
    person = stranger(lasting)
    before = len(lasting.audit())
    answer = person.sign_in(token)
    assert (answer.status_code, person.cookie) == (401, "")
    assert "This is nobody's token." in answer.text.replace("&#39;", "'")
    assert len(lasting.audit()) == before


def test_token_is_in_no_log_and_on_no_page(stage: Any) -> None:
    person = stranger(stage)
    with capture_logs() as lines:
        pages = [person.sign_in("canary-token").text, person.sign_in(TOKENS["anna"]).text]
        pages += [person.get("/admin").text, person.cookie]
    assert "sign_in_refused" in str(lines)
    assert not any(word in str([lines, pages]) for word in ("canary-token", TOKENS["anna"]))


def test_token_in_the_address_is_no_token(lasting: Any) -> None:
    person = stranger(lasting)
    person.get(f"/admin/sign-in?token={TOKENS['admin']}")
    assert person.browser.post(f"/admin/sign-in?token={TOKENS['admin']}").status_code == 401
    assert not is_in(person)


def test_bearer_token_opens_no_page(lasting: Any) -> None:
    person = stranger(lasting)
    answer = person.get("/admin", headers={"Authorization": f"Bearer {TOKENS['admin']}"})
    assert answer.status_code == 303


def test_session_opens_no_call_of_the_api(lasting: Any) -> None:
    assert lasting.person().get("/api/operations").status_code == 401


def guess(person: Any, address: str = "192.0.2.1", token: str = "wrong") -> Any:
    return person.browser.post("/admin/sign-in", data={"token": token}, environ_base={"REMOTE_ADDR": address})


def test_guessing_from_one_address_has_an_end(lasting: Any) -> None:
    person = stranger(lasting)
    assert {guess(person).status_code for _ in range(TRIES)} == {401}
    refused = guess(person, token=TOKENS["admin"])
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "300")
    assert "Wait 300 s" in refused.text
    assert guess(person, "192.0.2.2", TOKENS["admin"]).status_code == 303
    wait(lasting, 299)
    refused = guess(person, token=TOKENS["admin"])
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
    wait(lasting, 1)
    assert guess(person, token=TOKENS["admin"]).status_code == 303


def test_guessing_from_many_addresses_has_an_end(stage: Any) -> None:
    person = stranger(stage)
    for number in range(ALL_TRIES):
        assert guess(person, f"192.0.2.{number}").status_code == 401
    assert guess(person, "198.51.100.1", TOKENS["admin"]).status_code == 429
    wait(stage, 300)
    assert guess(person, "198.51.100.1", TOKENS["admin"]).status_code == 303


def test_guessing_under_made_up_addresses_has_an_end_for_who_makes_them_up(stage: Any) -> None:
    """Past the proxies, whoever speaks to the port forwards what they like."""
    proxied = ProxyFix(create_app(stage.surfaces), x_for=1)  # as the server does for trusted_proxies = 1

    def tried(forwarded: str, token: str = "wrong", *, through: str = "192.0.2.1") -> int:
        told = Client(proxied).post(
            "/admin/sign-in", data={"token": token}, headers={"X-Forwarded-For": forwarded},
            environ_base={"REMOTE_ADDR": through},
        )  # fmt: skip
        return told.status_code

    assert [tried("evil<script>") for _ in range(TRIES)] == [401] * TRIES
    assert tried("nonsense") == 429
    made_up = [tried(f"203.0.113.{number}") for number in range(ALL_TRIES)]
    assert made_up.count(401) == PEER_TRIES - TRIES
    assert tried("203.0.113.250", TOKENS["admin"]) == 429
    assert tried("203.0.113.250", TOKENS["admin"], through="198.51.100.1") == 303


def test_good_token_ends_the_count_of_wrong_ones(lasting: Any) -> None:
    person = stranger(lasting)
    for _ in range(TRIES - 1):
        guess(person)
    assert guess(person, token=TOKENS["admin"]).status_code == 303
    assert {guess(person).status_code for _ in range(TRIES)} == {401}


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_another_sites_form_signs_nobody_in(lasting: Any, site: str) -> None:
    person = stranger(lasting)
    answer = person.browser.post(
        "/admin/sign-in", data={"token": TOKENS["admin"]}, headers={"Sec-Fetch-Site": site}
    )
    assert (answer.status_code, person.cookie) == (400, "")


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://localhost", 303), ("https://localhost", 303), ("http://evil.example", 400), ("null", 400),
        ("http://localhost:81", 400), ("http://[", 400), ("localhost", 400),
    ],
)  # fmt: skip
def test_browser_that_says_no_site_is_known_by_its_origin(lasting: Any, origin: str, status: int) -> None:
    person = stranger(lasting)
    answer = person.browser.post(
        "/admin/sign-in", data={"token": TOKENS["admin"]}, headers={"Origin": origin}
    )
    assert answer.status_code == status


# The page after it


@pytest.mark.parametrize(
    "page",
    ["/admin", "/admin/operations?state=held&q=%25a", "/admin/services/shop/a%3Fb%23c", "/admin?done=x"],
)
def test_sign_in_goes_on_to_the_page_that_was_asked_for(lasting: Any, page: str) -> None:
    person = stranger(lasting)
    asked = person.get(page)
    assert asked.status_code == 303
    form = person.page(asked.location).form("/admin/sign-in")
    assert form.fields["next"] == page
    assert person.sign_in(TOKENS["admin"], next=page).location == page


@pytest.mark.parametrize(
    "page",
    [
        "//evil.example", "/\\evil.example", "\\\\evil.example", "https://evil.example", "https:/admin",
        "https:",
        "//evil.example/admin/", "/admin/../api", "/admin/x/../../healthz", "/admin/%2e%2E/api", "/admin/..",
        "/admin/./x", "/admin\\..\\x", "/admin/\\evil.example", "/administrator", "/admin.evil.example",
        "admin",
        "/admin@evil.example", "javascript:alert(1)", "/admin/\r\nSet-Cookie: a=b", "/admin/\0", "/admin/\tx",
        "//[", "http://[", " /admin", "/",
    ],
)  # fmt: skip
def test_sign_in_goes_on_to_no_page_but_ours(lasting: Any, page: str) -> None:
    person = stranger(lasting)
    shown = person.browser.get("/admin/sign-in", query_string={"next": page})
    assert (shown.status_code, 'name="next" value=""' in shown.text) == (200, True)
    answer = person.sign_in(TOKENS["admin"], next=page)
    assert (answer.status_code, answer.location) == (303, "/admin")


def test_form_that_lost_its_session_is_not_gone_back_to(lasting: Any) -> None:
    person = stranger(lasting)
    answer = person.browser.post("/admin/pause", data={})
    assert (answer.status_code, answer.location) == (303, "/admin/sign-in")


# How long


def test_session_ends_when_nobody_uses_it(lasting: Any) -> None:
    person = lasting.person()
    wait(lasting, 2 * HOUR_S)
    assert is_in(person)
    wait(lasting, 2 * HOUR_S + 1)
    assert not is_in(person)


def test_session_lasts_while_it_is_used_and_no_longer_than_a_day_of_work(lasting: Any) -> None:
    person = lasting.person()
    for _ in range(12):
        wait(lasting, HOUR_S)
        assert is_in(person)
    wait(lasting, 1)
    assert not is_in(person)


def test_page_that_keeps_itself_fresh_keeps_no_session(lasting: Any) -> None:
    person = lasting.person()
    for _ in range(4):
        wait(lasting, HOUR_S / 2)
        answer = person.get("/admin", headers={"X-Live": "1"})
        assert (answer.status_code, "Set-Cookie" in answer.headers) == (200, False)
    wait(lasting, 1)
    assert person.get("/admin", headers={"X-Live": "1"}).status_code == 303


def test_page_that_was_refused_keeps_no_session(lasting: Any) -> None:
    person = lasting.person()
    assert "Set-Cookie" not in person.get("/admin/nothing").headers
    assert "Set-Cookie" in person.get("/admin").headers


def test_sign_out_ends_every_copy_of_the_cookie(lasting: Any) -> None:
    person, thief = lasting.person(), stranger(lasting)
    thief.take(person.cookie)
    assert is_in(thief)
    assert person.done("/admin/sign-out").startswith("/admin/sign-in")
    assert person.cookie == ""
    assert "You are signed out." in person.page("/admin/sign-in?done=signed_out").text
    assert not is_in(thief)


def test_sign_out_ends_no_other_session(lasting: Any) -> None:
    here, there = lasting.person(), lasting.person()
    here.done("/admin/sign-out")
    assert is_in(there)


def test_ended_sessions_are_forgotten_once_their_time_is_over(stage: Any) -> None:
    def ended() -> int:
        return len(stage.app.store.read(lambda verbs: verbs.facts_like("session_ended:")))

    for _ in range(3):
        stage.person().done("/admin/sign-out")
    assert ended() == 3
    wait(stage, 12 * HOUR_S + 1)
    stage.person().done("/admin/sign-out")
    assert ended() == 1


def test_sign_out_needs_a_form_of_the_session(lasting: Any) -> None:
    person = lasting.person()
    assert person.browser.post("/admin/sign-out").status_code == 400
    assert person.get("/admin/sign-out").status_code == 405
    assert is_in(person)


def test_each_sign_in_is_a_session_of_its_own(lasting: Any) -> None:
    person = lasting.person()
    first, token = person.cookie, person.token()
    person.sign_in(TOKENS["admin"])
    assert person.cookie != first
    assert person.browser.post("/admin/pause", data={"csrf_token": token}).status_code == 400


def with_settings(stage: Any, **tables: Any) -> Any:
    """The same service, restarted with other settings."""
    return create_app(replace(stage.surfaces, settings=stage.settings(**tables))).test_client()


@pytest.mark.parametrize(
    ("admins", "is_good"),
    [
        ({"anna": {"token": "anna-token-0123456789", "role": "support"}}, True),
        ({"anna": {"token": "another-token-0123456789", "role": "support"}}, False),
        ({"bert": {"token": "anna-token-0123456789", "role": "support"}}, False),
        ({}, False),
    ],
)
def test_session_ends_with_the_token_it_began_with(
    lasting: Any, admins: dict[str, Any], is_good: bool
) -> None:
    person = lasting.person(TOKENS["anna"])
    cookie = person.cookie
    person.browser = with_settings(lasting, admins=admins)
    person.take(cookie)
    assert is_in(person) is is_good


def test_role_is_that_of_the_settings_now(lasting: Any) -> None:
    person = lasting.person(TOKENS["anna"])
    cookie = person.cookie
    admins = {"anna": {"token": TOKENS["anna"], "role": "read"}}
    person.browser = with_settings(lasting, admins=admins)
    person.take(cookie)
    assert "anna (read)" in person.page("/admin").text


# Keys


def test_rotated_keys_keep_sessions_and_forms(stage: Any) -> None:
    person = stage.person()
    token, cookie = person.token(), person.cookie
    assert stage.post("/api/keys/rotate").status_code == 200
    person.take(cookie)
    assert person.browser.post("/admin/pause", data={"csrf_token": token}).status_code == 303
    assert person.token() != token  # signed with the new key from now on


def test_without_its_key_a_session_is_nobodys(lasting: Any) -> None:
    person = lasting.person()
    cookie = person.cookie
    keys = Vault([b"3" * 43 + b"="]).derive_all
    person.browser = create_app(replace(lasting.surfaces, keys=keys)).test_client()
    person.take(cookie)
    assert not is_in(person)


def test_what_was_signed_for_another_purpose_is_no_session(lasting: Any) -> None:
    person = lasting.person()
    good = Signed(lasting.surfaces.keys, "console session", lasting.clock)
    said = good.read(person.cookie, 60)
    assert said["data"]["admin"] == "admin"
    for purpose, is_good in (("console session", True), ("panel session", False), ("panel link", False)):
        person.take(Signed(lasting.surfaces.keys, purpose, lasting.clock).sign(said))
        assert is_in(person) is is_good


@pytest.mark.parametrize(
    "change",
    [
        lambda cookie: "", lambda cookie: "x", lambda cookie: cookie[:-1], lambda cookie: cookie + "A",
        lambda cookie: "A" + cookie, lambda cookie: cookie.replace(".", ""), lambda cookie: cookie.swapcase(),
        lambda cookie: cookie.rsplit(".", 1)[0], lambda cookie: "." * 40, lambda cookie: cookie * 2,
        lambda cookie: "\xff" + cookie,
    ],
)  # fmt: skip
def test_altered_cookie_is_nobody(lasting: Any, change: Callable[[str], str]) -> None:
    person = lasting.person()
    person.take(change(person.cookie))
    assert not is_in(person)


def test_session_says_no_secret(lasting: Any) -> None:
    person = lasting.person(TOKENS["anna"])
    said = Signed(lasting.surfaces.keys, "console session", lasting.clock).read(person.cookie, 60)
    assert set(said) == {"id", "began", "data"}
    assert set(said["data"]) == {"admin", "proof"}
    assert TOKENS["anna"] not in str(said)


# Forms


@pytest.mark.parametrize("token", [None, "", "x", "ü", "0" * 64])
def test_form_without_the_sessions_token_does_nothing(lasting: Any, token: str | None) -> None:
    person = lasting.person()
    before = len(lasting.audit())
    form = {} if token is None else {"csrf_token": token}
    answer = person.browser.post("/admin/pause", data=form)
    assert (answer.status_code, answer.mimetype) == (400, "text/html")
    assert "nothing was done" in answer.text
    assert len(lasting.audit()) == before


def test_token_of_another_session_does_nothing(lasting: Any) -> None:
    mine, yours = lasting.person(), lasting.person()
    assert mine.browser.post("/admin/pause", data={"csrf_token": yours.token()}).status_code == 400


def test_token_in_the_address_proves_nothing(lasting: Any) -> None:
    person = lasting.person()
    assert person.browser.post(f"/admin/pause?csrf_token={person.token()}").status_code == 400


def test_every_form_carries_the_token(stage: Any) -> None:
    stage.held("7")
    person = stage.person()
    for page in (*PAGES, "/services/shop/7", "/services/shop/7/create"):
        for form in person.page(f"/admin{page}").forms:
            assert form.method == "get" or form.fields.get("csrf_token") == person.token(), (page, form)


@pytest.mark.parametrize("size", [MOST_BYTES, MOST_BYTES + 1])
@pytest.mark.parametrize("path", ["/admin/sign-in", "/admin/pause"])
def test_form_has_a_greatest_size(lasting: Any, path: str, size: int) -> None:
    person = lasting.person()
    begin = f"csrf_token={person.token()}&token={TOKENS['admin']}&reason="
    body = begin + "&a" * ((size - len(begin)) // 2) + "x" * ((size - len(begin)) % 2)
    answer = person.browser.post(path, data=body, content_type="application/x-www-form-urlencoded")
    assert answer.status_code == (413 if size > MOST_BYTES else 303)
    assert answer.mimetype == "text/html"


# What every page says to the browser


def test_cookie_is_for_this_console_alone(lasting: Any) -> None:
    flags = stranger(lasting).sign_in(TOKENS["admin"]).headers["Set-Cookie"].split("; ")[1:]
    assert sorted(flags) == ["HttpOnly", "Path=/admin", "SameSite=Lax"]


@pytest.mark.parametrize(
    ("server", "base", "is_secure"),
    [
        ({"public_url": "https://p.example.com"}, "http://localhost", True),
        ({"public_url": "http://p.example.com"}, "http://localhost", False),
        ({"public_url": "http://p.example.com"}, "https://localhost", True),
        (
            {"public_url": "https://p.example.com", "admin_listen": "127.0.0.1:9090"},
            "http://localhost",
            False,
        ),
        (
            {"public_url": "https://p.example.com", "admin_listen": "127.0.0.1:9090"},
            "https://localhost",
            True,
        ),
    ],
)
def test_cookie_is_secure_where_the_console_is_reached_by_https(
    stages: Callable[..., Any], server: dict[str, str], base: str, is_secure: bool
) -> None:
    client = stages(server=server).client
    into = client.post("/admin/sign-in", base_url=base, data={"token": TOKENS["admin"]})
    assert into.headers["Set-Cookie"].count("Secure") == is_secure


def answers(stage: Any) -> dict[str, Any]:
    """Every sort of answer that the console gives."""
    person, nobody = stage.person(), stranger(stage)
    return {
        "page": person.get("/admin"),
        "sign in": nobody.get("/admin/sign-in"),
        "refused sign in": nobody.sign_in("x"),
        "turned away": nobody.get("/admin"),
        "nothing there": person.get("/admin/nothing"),
        "no such operation": person.get("/admin/operations/x"),
        "wrong filter": person.get("/admin/operations?state=x"),
        "wrong method": person.browser.put("/admin/operations"),
        "forged": person.browser.post("/admin/pause"),
        "too large": person.browser.post("/admin/sign-in", data={"token": "x" * MOST_BYTES}),
        "done": person.post("/admin/pause"),
        "signed out": person.post("/admin/sign-out"),
    }


def test_every_answer_is_safe_and_not_kept(stage: Any) -> None:
    for what, answer in answers(stage).items():
        headers = answer.headers
        assert answer.mimetype == "text/html", what
        policy = dict(each.split(" ", 1) for each in headers["Content-Security-Policy"].split("; "))
        assert policy["default-src"] == "'none'", what
        assert (policy["script-src"], policy["style-src"]) == ("'self'", "'self'"), what
        assert (policy["frame-ancestors"], policy["base-uri"]) == ("'none'", "'none'"), what
        assert policy["form-action"] == "'self'", what
        assert not any("unsafe" in each or "http" in each for each in policy.values()), what
        assert (headers["Cache-Control"], headers["X-Frame-Options"]) == ("no-store", "DENY"), what
        assert headers["X-Content-Type-Options"] == "nosniff", what
        assert headers["Referrer-Policy"] == "same-origin", what


def test_no_page_has_anything_inline(stage: Any) -> None:
    stage.held("7")
    person = stage.person()
    for page in (*PAGES, "/services/shop/7"):
        for tag, given in person.page(f"/admin{page}").tags:
            assert not [name for name in given if name.startswith("on") or name == "style"], (page, given)
            assert tag != "style", page
            assert tag != "script" or given["src"].startswith("/"), page


def test_assets_are_kept_under_addresses_that_change_with_them(lasting: Any) -> None:
    found = {
        given.get("href") or given["src"]
        for tag, given in lasting.person().page("/admin").tags
        if tag in ("link", "script", "img")
    }
    assert len(found) >= 5
    for address in found:
        answer = lasting.client.get(address)
        assert answer.status_code == 200, address
        assert answer.headers["Cache-Control"] in ("public, max-age=86400", "no-cache, max-age=86400"), (
            address
        )
        assert "v=" in address
        answer.close()


def test_asset_that_is_not_there_is_not_kept(lasting: Any) -> None:
    for address in ("/assets/nothing.js", "/assets/../pages.py", "/assets/..%2fpages.py"):
        answer = lasting.client.get(address)
        assert (answer.status_code, answer.headers["Cache-Control"]) == (404, "no-store")
    assert {"static", "bootstrap.static"} <= set(ASSETS)


# What is no page


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("PUT", "/admin", 405, "GET"),
        ("POST", "/admin/operations", 405, "GET"),
        ("DELETE", "/admin/operations/x", 405, "GET"),
        ("OPTIONS", "/admin/sign-in", 405, "GET, POST"),
        ("GET", "/admin/pause", 405, "POST"),
        ("HEAD", "/admin/pause", 405, "POST"),
        ("GET", "/admin/nothing/at/all", 404, None),
        ("PATCH", "/admin/nothing", 404, None),
        ("HEAD", "/admin/operations", 200, None),
        ("HEAD", "/admin", 200, None),
        ("GET", "/admin/", 200, None),
        ("GET", "/admin/operations/%00", 404, None),
        ("GET", "/admin/services/shop/a%00b", 404, None),
    ],
)
def test_what_is_no_page_is_told_on_one(
    lasting: Any, method: str, path: str, status: int, allow: str | None
) -> None:
    answer = lasting.person().browser.open(path, method=method)
    assert (answer.status_code, answer.mimetype) == (status, "text/html")
    assert answer.headers.get("Allow") == allow
    assert "Content-Security-Policy" in answer.headers


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "OPTIONS"])
@pytest.mark.parametrize("path", ["/admin", "/admin/operations", "/admin/nothing", "/admin/sign-out"])
def test_stranger_learns_nothing(lasting: Any, method: str, path: str) -> None:
    answer = stranger(lasting).browser.open(path, method=method)
    assert answer.status_code == 303
    assert answer.location.startswith("/admin/sign-in")


def test_words_in_an_address_are_put_on_no_page(stage: Any) -> None:
    order = stage.order()
    person = stage.person()
    for path in ("", f"/operations/{order}", "/services/shop/1001", "/brakes", "/settings", "/sign-in"):
        assert "reflected" not in person.page(f"/admin{path}?done=reflected").text
    assert "It was retried." in person.page(f"/admin/operations/{order}?done=retried").text


def test_store_that_does_not_answer_is_told_on_a_page(lasting: Any) -> None:
    class Away:
        def read(self, unit: Any) -> Any:
            raise StoreUnavailable("The store does not answer.", detail="it is away")

    person = lasting.person()
    cookie = person.cookie
    person.browser = create_app(replace(lasting.surfaces, store=Away())).test_client()
    person.take(cookie)
    answer = person.get("/admin")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert "it is away" in answer.text


def test_page_that_breaks_says_so_and_no_more(stage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    person = stage.person()
    cookie = person.cookie

    def breaks() -> float:
        raise RuntimeError("canary")

    person.browser = create_app(replace(stage.surfaces, tick_age_s=breaks)).test_client()
    person.take(cookie)
    with capture_logs() as lines:
        answer = person.get("/admin")
    assert (answer.status_code, "canary" in answer.text) == (500, False)
    assert "page_broke" in [line["event"] for line in lines]
    assert "Content-Security-Policy" in answer.headers


# `admin_listen`


def test_public_address_has_no_console(stage: Any) -> None:
    public, own = stage.client_of(Side.PUBLIC), stage.client_of(Side.ADMIN)
    for path in ("/admin", "/admin/", "/admin/sign-in", "/admin/operations"):
        assert public.get(path).status_code == 404
        assert public.post(path, data={"token": TOKENS["admin"]}).status_code == 404
    assert own.post("/admin/sign-in", data={"token": TOKENS["admin"]}).status_code == 303
    assert own.get("/admin").status_code == 200
