"""What the words of `provisioner send` become."""

from __future__ import annotations

import click
import pytest

from provisioner.cli.send import event

NOON = 1_795_435_200.0

VALUES = [
    ("order.paid", "plan=vps-s", {"plan": "vps-s"}),
    ("order.paid", "plan=1000", {"plan": "1000"}),
    ("order.paid", "options.mem=2048", {"options": {"mem": 2048}}),
    ("order.paid", "options.disk=20G", {"options": {"disk": "20G"}}),
    ("order.paid", 'options={"mem": 2048}', {"options": {"mem": 2048}}),
    ("order.paid", "client.id=7", {"client": {"id": "7"}}),
    ("order.paid", "recreate=true", {"recreate": True}),
    ("order.paid", "hostname=web1.example.com", {"hostname": "web1.example.com"}),
    ("order.paid", "hostname=", {"hostname": ""}),
    ("order.paid", "options.mem=much", {"options": {"mem": "much"}}),
    ("order.paid", "options.cores=2", {"options": {"cores": 2}}),
    ("order.paid", "note=a=b", {"note": "a=b"}),
    ("service.suspend", "reason=12", {"reason": "12"}),
    ("service.suspend", "force=false", {"force": False}),
    ("service.suspend", "force=maybe", {"force": "maybe"}),
    ("service.terminate", "immediate=true", {"immediate": True}),
    ("service.link", "vmid=4001", {"vmid": 4001}),
    ("service.link", 'ips=["192.0.2.1"]', {"ips": ["192.0.2.1"]}),
    ("service.restore", "backup=1795435200", {"backup": 1795435200}),
    ("service.upgrade", "template=12", {"template": "12"}),
    ("no.such.type", "vmid=4001", {"vmid": 4001}),
    ("no.such.type", "vmid=some", {"vmid": "some"}),
]


@pytest.mark.parametrize(("type_", "pair", "data"), VALUES)
def test_value_has_its_keys_type(type_: str, pair: str, data: dict[str, object]) -> None:
    assert event(type_, "1001", [pair], NOON)["data"] == {"service_id": "1001", **data}


def test_event_carries_type_and_time() -> None:
    assert event("service.start", "1001", [], NOON) == {
        "type": "service.start",
        "timestamp": "2026-11-23T12:00:00Z",
        "data": {"service_id": "1001"},
    }


def test_dotted_keys_share_one_object() -> None:
    data = event("order.paid", "1001", ["options.mem=2048", "options.cpu_cores=2"], NOON)["data"]
    assert data["options"] == {"mem": 2048, "cpu_cores": 2}


def test_service_id_stays_a_text() -> None:
    assert event("service.start", "0017", [], NOON)["data"]["service_id"] == "0017"


@pytest.mark.parametrize(
    "pairs", [["plan"], ["=vps-s"], ["options.=2"], [".mem=2"], ["plan=vps-s", "plan.name=x"]]
)
def test_what_is_no_pair_is_refused(pairs: list[str]) -> None:
    with pytest.raises(click.UsageError):
        event("order.paid", "1001", pairs, NOON)


@pytest.mark.parametrize(
    "pairs", [["service_id=1002"], ["plan=vps-s", "plan=vps-m"], ["options.mem=64", "options={}"]]
)
def test_second_value_of_a_key_is_refused(pairs: list[str]) -> None:
    """The last one won in silence: `send service.terminate 1001 service_id=1002` ended the other service."""
    with pytest.raises(click.UsageError, match="has a value already"):
        event("service.terminate", "1001", pairs, NOON)
