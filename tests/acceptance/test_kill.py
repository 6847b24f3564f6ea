"""`kill -9` at any point after the 202, then a restart: the order ends delivered, with one VM.

Where the kill falls inside the POST, its outcome is unknown: on an account that is not exclusive the order is
held, on an exclusive one it resolves itself; never is there a second VM. On SQLite, and on PostgreSQL, where
the default run dies at a few points only.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from provisioner.sandbox import Sandbox

ALONE = str(Path(__file__).with_name("alone.py"))
POINTS = [  # the point, the how-manieth time it is reached, and the way to die
    ("before the event's commit", 2, "kill"),
    ("after a group commit", 3, "exit"),
    ("after a claim", 2, "kill"),
    ("before the intent", 1, "exit"),
    ("after the intent", 1, "kill"),
    ("after the intent", 2, "exit"),
    ("before the POST", 1, "kill"),
    ("after a look at the job", 1, "kill"),
    ("before a look at the job", 1, "exit"),
    ("after a write-back", 2, "exit"),
    ("before a delivery", 1, "kill"),
    ("after a delivery", 1, "kill"),
    ("after a delivery's commit", 1, "exit"),
]


SOON = {"after a group commit", "before the POST", "after the POST", "after a delivery"}


def on_both(*points: tuple[Any, ...]) -> Any:
    """Each point on SQLite, and on PostgreSQL: there most of them in the long run only."""
    return [pytest.param("SQLite", *point) for point in points] + [
        pytest.param("PostgreSQL", *point, marks=() if point[0] in SOON else pytest.mark.long)
        for point in points
    ]


@pytest.fixture
def site(request: pytest.FixtureRequest, tmp_path: Path, site_in: Any) -> Iterator[Any]:
    """Over the engine that a test names."""
    with site_in(tmp_path, Sandbox(job_queued=0.1, job_executing=0.4)) as made:
        if request.param == "PostgreSQL":
            url, key = request.getfixturevalue("postgres").database(), "a2tr" * 10 + "a2s="
            made.replace_setting("[security]\n", f'[security]\nencryption_keys = ["{key}"]\n')
            made.replace_setting("[upstream]\n", "[upstream]\ntimeout = 1\n")  # and so are leases
            made.add_settings(f'\n[store]\nurl = "{url}"\n')
            made.program = (ALONE,)
        yield made


def settle_quickly(site: Any, *, exclusive: bool) -> None:
    word = "true" if exclusive else "false"
    site.replace_setting("[upstream]\n", f"[upstream]\nexclusive = {word}\nsettle = 1\n")


def order_until_accepted(site: Any, eventually: Any) -> None:
    """Sends as a billing system does: the same event again until it is told 2xx."""
    eventually(lambda: site.send("order.paid", "1001", "plan=vps-s", webhook_id="order-1")[0] in (200, 202))


@pytest.mark.parametrize(("site", "point", "nth", "way"), on_both(*POINTS), indirect=["site"])
def test_killed_service_ends_the_order(site: Any, eventually: Any, point: str, nth: int, way: str) -> None:
    settle_quickly(site, exclusive=True)
    mortal = site.serve_mortally(point, way, nth)
    eventually(
        lambda: (
            mortal.poll() is not None
            or site.send("order.paid", "1001", "plan=vps-s", webhook_id="order-1")[0] in (200, 202)
        )
    )
    assert mortal.wait(90) in (70, -9), site.said.read_text()

    site.serve()
    order_until_accepted(site, eventually)
    eventually(lambda: site.deliver_all("service.provisioned"))
    (vm,) = site.sandbox.state()["vms"]
    delivered = site.deliver_all("service.provisioned")
    assert {(one.data["vmid"], one.data["password"]) for one in delivered} == {(vm["vmid"], vm["password"])}
    assert len({one.webhook_id for one in delivered}) == 1


@pytest.mark.parametrize(
    ("site", "point", "nth", "way"),
    on_both(("after the POST", 1, "kill"), ("before a write-back", 2, "exit")),
    indirect=["site"],
)
def test_kill_before_the_job_is_known_finds_it(
    site: Any, eventually: Any, point: str, nth: int, way: str
) -> None:
    """The VM is made, and nothing here knows its job: it is looked for above the last one known."""
    settle_quickly(site, exclusive=True)
    taught = site.serve()
    site.send("order.paid", "1000", "plan=vps-s")
    eventually(lambda: site.deliver_all("service.provisioned", "1000"))
    taught.terminate()
    assert taught.wait(90) == 0

    mortal = site.serve_mortally(point, way, nth)
    order_until_accepted(site, eventually)
    assert mortal.wait(90) in (70, -9), site.said.read_text()
    site.serve()
    (delivered,) = eventually(lambda: site.deliver_all("service.provisioned"))
    vms = site.sandbox.state()["vms"]
    assert len(vms) == 2
    assert delivered.data["password"] in {vm["password"] for vm in vms}


@pytest.mark.parametrize(
    ("site", "point"), on_both(("before the POST",), ("after the POST",)), indirect=["site"]
)
def test_kill_inside_the_post_holds(site: Any, eventually: Any, point: str) -> None:
    settle_quickly(site, exclusive=False)
    mortal = site.serve_mortally(point, "kill", 1)
    order_until_accepted(site, eventually)
    assert mortal.wait(90) == -9

    site.serve()
    (held,) = eventually(lambda: site.deliver_all("operation.held"))
    assert held.data["error"]["code"] == "create_lost"
    posts = [
        call
        for call in site.sandbox.calls()
        if (call["method"], call["path"]) == ("POST", "/datacenter/server")
    ]
    assert len(posts) <= 1


@pytest.mark.parametrize(
    ("site", "point", "way"),
    on_both(("during migration", "exit"), ("during migration", "kill")),
    indirect=["site"],
)
def test_kill_during_migration_starts_anew(site: Any, eventually: Any, point: str, way: str) -> None:
    mortal = site.serve_mortally(point, way, 1)
    assert mortal.wait(90) in (70, -9)
    site.serve()
    order_until_accepted(site, eventually)
    eventually(lambda: site.deliver_all("service.provisioned"))
