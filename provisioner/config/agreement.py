"""What the tables must agree on: mistakes that no single value shows (contract, section 2).

These checks read the tables as they are written, wrong ones too, so that a mistake elsewhere hides none of
them. What has a wrong type is passed over here: its own check names it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from provisioner.config.values import POSTGRESQL, shown
from provisioner.service import disk_megabytes

Loc = tuple[str | int, ...]
Problem = tuple[Loc, str]
Tables = Mapping[str, Any]


def disagreements(tables: Tables) -> Iterator[Problem]:
    """Each mistake as the place of its key and what is wrong with it; the tables may hold anything."""
    for check in (
        _addresses_differ,
        _postgresql_has_keys,
        _admin_tokens_differ,
        _waits_fit,
        _whmcs_is_reachable,
        _billing_plans_exist,
        _limits_hold_the_plan,
    ):
        yield from check(tables)


def _table(tables: Tables, name: str) -> Tables:
    found = tables.get(name)
    return found if isinstance(found, dict) else {}


def _entries(tables: Tables, name: str) -> Iterator[tuple[str, Tables]]:
    for key, entry in _table(tables, name).items():
        if isinstance(entry, dict):
            yield key, entry


def _texts(table: Tables, key: str) -> Iterator[tuple[int, str]]:
    found = table.get(key)
    for place, text in enumerate(found if isinstance(found, list) else []):
        if isinstance(text, str):
            yield place, text


def _addresses_differ(tables: Tables) -> Iterator[Problem]:
    server = _table(tables, "server")
    address = server.get("admin_listen")
    # Port 0 is another free port each time.
    if isinstance(address, str) and address == server.get("listen") and not address.endswith(":0"):
        yield ("server", "admin_listen"), "is the same as listen; must be another address, or empty"


def _postgresql_has_keys(tables: Tables) -> Iterator[Problem]:
    url = _table(tables, "store").get("url")
    keys = _table(tables, "security").get("encryption_keys", [])
    if isinstance(url, str) and url.startswith(POSTGRESQL) and keys == []:
        why = "with PostgreSQL, whose nodes share no key file"
        yield ("security", "encryption_keys"), f"is needed {why}; must be a list of Fernet keys, newest first"


def _admin_tokens_differ(tables: Tables) -> Iterator[Problem]:
    first = _table(tables, "security").get("admin_token")
    owners = {first: "[security] admin_token"} if isinstance(first, str) else {}
    for name, admin in _entries(tables, "admins"):
        token = admin.get("token")
        if not isinstance(token, str):
            continue
        if token and token in owners:
            words = f"is the same as {owners[token]}; must be this person's own"
            yield ("admins", name, "token"), words
        owners.setdefault(token, f"[admins.{shown(name)}] token")


def _waits_fit(tables: Tables) -> Iterator[Problem]:
    for table, short, long in (("retry", "first", "max"), ("upstream", "job_poll", "job_timeout")):
        waits = _table(tables, table)
        if _number(waits.get(short)) > _number(waits.get(long), otherwise=float("inf")):
            yield (table, short), f"is longer than {long}; must be at most that"


def _number(found: object, *, otherwise: float = 0) -> float:
    return found if isinstance(found, int | float) and not isinstance(found, bool) else otherwise


def _whmcs_is_reachable(tables: Tables) -> Iterator[Problem]:
    for name, billing in _entries(tables, "billing"):
        if billing.get("platform") != "whmcs":
            continue
        for key in ("api_url", "identifier", "secret"):
            if billing.get("deliver", "push") == "push" and billing.get(key, "") == "":
                words = 'is needed to push deliveries; must be that of WHMCS\'s API, or deliver = "pull"'
                yield ("billing", name, key), words
        if billing.get("on_failure") == "ticket" and billing.get("ticket_department", 0) == 0:
            words = 'is needed with on_failure = "ticket"; must be the number of a support department'
            yield ("billing", name, "ticket_department"), words


def _billing_plans_exist(tables: Tables) -> Iterator[Problem]:
    plans = _table(tables, "plans")
    right = (
        f"one of the plans: {', '.join(map(shown, plans))}" if plans else "a plan; there are no [plans] yet"
    )
    for name, billing in _entries(tables, "billing"):
        for place, plan in _texts(billing, "plans"):
            if plan not in plans:
                yield ("billing", name, "plans", place), f"is no plan of this file; must be {right}"


def _limits_hold_the_plan(tables: Tables) -> Iterator[Problem]:
    for name, plan in _entries(tables, "plans"):
        limits = _table(plan, "max")
        for key, size in _SIZES.items():
            own, limit = size(plan.get(key)), size(limits.get(key))
            if own is not None and limit is not None and limit < own:
                yield ("plans", name, "max", key), f"is below the plan's own {key}; must be at least that"


def _whole(found: object) -> int | None:
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def _megabytes(found: object) -> int | None:
    try:
        return disk_megabytes(found) if isinstance(found, str) else None
    except ValueError:
        return None


_SIZES: Mapping[str, Callable[[object], int | None]] = {
    "cpu_cores": _whole,
    "mem": _whole,
    "disk": _megabytes,
    "ip_count": _whole,
}
