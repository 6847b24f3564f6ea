"""The stand-in is as strict as WHMCS: what would break a shop breaks a test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
import requests

from tests.acceptance.whmcs.conftest import API_SECRET, Whmcs


@pytest.fixture(scope="module")
def whmcs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whmcs]:
    with closing(Whmcs(tmp_path_factory.mktemp("stand-in") / "whmcs")) as made:
        made.click("credential", identifier="id", secret=API_SECRET, actions=["WhmcsDetails", "ModuleCreate"])
        yield made


def test_boolean_of_a_hook_breaks_the_page(whmcs: Whmcs) -> None:
    with (
        whmcs.hook("add_hook('AfterCronJob', 1, fn () => true);"),
        pytest.raises(AssertionError, match="boolean"),
    ):
        whmcs.cron()


def test_notice_is_a_complaint(whmcs: Whmcs) -> None:
    with whmcs.hook("add_hook('AfterCronJob', 1, function () { $nothing['there']; return []; });"):
        whmcs.cron()
    assert "Undefined variable $nothing" in whmcs.complaints()
    assert whmcs.complaints() == ""


def test_exception_of_a_module_is_a_complaint(whmcs: Whmcs) -> None:
    file = whmcs.root / "modules/servers/careless/careless.php"
    file.parent.mkdir(parents=True)
    file.write_text(
        "<?php function careless_CreateAccount($params) { echo 'x'; throw new Exception('oops'); }"
    )
    product = whmcs.click("product", servertype="careless")
    service = whmcs.click("hosting", packageid=product)
    assert whmcs.click("act", service=service, verb="create") == "oops"
    said = whmcs.complaints()
    assert "careless_CreateAccount threw" in said
    assert "careless_CreateAccount printed x" in said


def test_module_log_masks_values(whmcs: Whmcs) -> None:
    with whmcs.hook(
        "add_hook('AfterCronJob', 1, fn () => logModuleCall('m', 'a', ['my-secret'], '', '', ['my-secret']));"
    ):
        whmcs.cron()
    (row,) = whmcs.rows("tblmodulelog", module="m")
    assert "my-secret" not in row["request"]
    assert "*********" in row["request"]


def asked(whmcs: Whmcs, **fields: Any) -> tuple[int, dict[str, Any]]:
    with requests.Session() as session:
        session.trust_env = False
        answer = session.post(f"{whmcs.front.url}/includes/api.php", data=fields, timeout=30)
        return answer.status_code, answer.json()


def test_api_refuses_in_its_own_words(whmcs: Whmcs) -> None:
    good = {"identifier": "id", "secret": API_SECRET}
    assert asked(whmcs, action="WhmcsDetails", **good)[1]["whmcs"]["version"] == "8.13.1"
    assert asked(whmcs, action="SendEmail", **good)[1]["message"] == (
        'Invalid Permissions: API action "SendEmail" is not allowed'
    )
    assert (
        asked(whmcs, action="WhmcsDetails", **{**good, "secret": "x"})[1]["message"]
        == "Authentication Failed"
    )
    assert (
        asked(whmcs, action="WhmcsDetails", identifier="x")[1]["message"] == "Invalid or missing credentials"
    )
    assert asked(whmcs, action="ModuleCreate", **good)[1]["message"] == "Service ID is required"
    whmcs.set(APIAllowedIPs="192.0.2.1")
    assert asked(whmcs, action="WhmcsDetails", **good) == (
        403,
        {"result": "error", "message": "Invalid IP 127.0.0.1"},
    )


def test_passwords_are_kept_encrypted(whmcs: Whmcs) -> None:
    service = whmcs.click("hosting", packageid=1, password="a password")
    assert "a password" not in repr(whmcs.rows("tblhosting", id=service))
    assert whmcs.service(service)["password"] == "a password"
