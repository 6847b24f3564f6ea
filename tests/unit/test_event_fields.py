"""Every range of the contract's section 3, at both edges."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from provisioner.event_models import (
    MODELS,
    QUERIES,
    Change,
    Create,
    DeliveriesPull,
    Fields,
    Link,
    Options,
    Ping,
    Reinstall,
    Restore,
    ServicesList,
    SetRdns,
    SourceFields,
    Subject,
    Suspend,
    Terminate,
)

LABEL = "a" * 63
LONGEST_HOSTNAME = ".".join([LABEL, LABEL, LABEL, "a" * 61])
NEEDED: dict[type[Fields], dict[str, object]] = {
    Create: {"plan": "vps-s"},
    Link: {"plan": "vps-s", "vmid": 4001},
    SetRdns: {"ip": "192.0.2.10", "hostname": "web1.example.com"},
    Change: {"plan": "vps-s"},
}
NO_INTEGERS = ["1", "64", 100.0, 100.5, 1e300, True, False, [100], {}, 10**255, -(10**255)]
NO_TEXTS = [1, 1.5, True, ["a"], {}]
NO_FLAGS = ["true", "false", "", 0, 1, 1.0, [], {}]
NAMES = (["a", "vps-s", "Debian10.0", "mit Leerzeichen", "n" * 255], ["", "n" * 256, *NO_TEXTS])
HOSTNAMES = (
    [
        "a", "A", "1", "w1.example.com", "Web1.Example.COM", "3com.com", "xn--bcher-kva.example", "a-b.c--d",
        "1.2.3", "1.2.3.4.5", "1.2.3.a", LABEL, LONGEST_HOSTNAME,
    ],
    [
        "", ".", "a.", ".a", "a..b", "-a", "a-", "a.-b", "a-.b", "a_b", "a b", " a", "a ", "a\n",
        "bücher.example", "\u0661.example", "192.0.2.1", "0.0.0.0", "999.1.1.1", "::1", "a" * 64,
        f"b.{'a' * 64}.c", LONGEST_HOSTNAME + "a", LONGEST_HOSTNAME[:-1] + ".b", *NO_TEXTS,
    ],
)  # fmt: skip
ADDRESSES = (
    ["192.0.2.10", "0.0.0.0", "255.255.255.255", "::", "::1", "2001:db8::1", "2001:db8:1:2:3:4:5:6"],
    [
        "", "192.0.2", "192.0.2.256", "192.0.2.010", "192.0.2.1/32", " 192.0.2.1", "192.0.2.1\n",
        "3221225994", "fe80::1%eth0", "2001:db8::1::2", "[::1]", "\u0661.1.1.1", "localhost", ":" * 46,
        *NO_TEXTS,
    ],
)  # fmt: skip
MOST = 2**63 - 1

# model, path to the field, values in range, values out of it
RANGES: list[tuple[type[Fields], str, list[Any], list[Any]]] = [
    (Options, "cpu_cores", [1, 2, 1024], [0, -1, 1025, *NO_INTEGERS]),
    (Options, "mem", [64, 65, 4194304], [63, 0, -64, 4194305, *NO_INTEGERS]),
    (Options, "ip_count", [1, 256], [0, -1, 257, *NO_INTEGERS]),
    (
        Options,
        "disk",
        ["1M", "1G", "1T", "99999M", "99999G", "99999T"],
        ["", "G", "0G", "01G", "100000G", "10", "10g", "10K", "10GB", "1.5G", "-1G", "+1G", " 1G", "1G ",
         "1 G", "1G\n", "\u0661G", *NO_TEXTS],
    ),
    (Create, "plan", *NAMES),
    (Create, "template", *NAMES),
    (Create, "hostname", *HOSTNAMES),
    (Create, "recreate", [True, False], NO_FLAGS),
    (Create, "options", [{}, {"mem": 64}], [[], "", 1, True, {"mem": 1}, {"cores": 1}, {"cores": None}]),
    (Create, "client", [{"id": "7"}, {"id": "7", "name": "x"}], [{}, {"id": None}, [], "7", 7, {"id": ""}]),
    (Link, "vmid", [1, 4001, MOST], [0, -1, MOST + 1, *NO_INTEGERS]),
    (Link, "plan", *NAMES),
    (Link, "hostname", *HOSTNAMES),
    (Link, "options", [{}, {"disk": "10G"}], [{"disk": "10"}, []]),
    (Link, "status", ["active", "suspended"], ["", "Active", "pending", "terminated", *NO_TEXTS]),
    (Link, "ips", [], ["192.0.2.1", {}, {"192.0.2.1": 1}, ["x"], [1], [None], ["192.0.2.1"] * 257]),
    (Change, "plan", *NAMES),
    (Change, "options", [{}, {"ip_count": 2}], [{"ip_count": 0}, [], {"template": "x"}]),
    (Suspend, "reason", ["", "overdue", "zwei\nZeilen", "r" * 1000], ["r" * 1001, *NO_TEXTS]),
    (Suspend, "force", [True, False], NO_FLAGS),
    (Suspend, "lock", [True, False], NO_FLAGS),
    (Terminate, "immediate", [True, False], NO_FLAGS),
    (Reinstall, "template", *NAMES),
    (SetRdns, "ip", *ADDRESSES),
    (SetRdns, "hostname", *HOSTNAMES),
    (Restore, "backup", [0, 1795435200, MOST], [-1, MOST + 1, "1795435200", *NO_INTEGERS]),
    (Ping, "drop_in_version", ["", "1.2.3", "v" * 64], ["v" * 65, *NO_TEXTS]),
    (ServicesList, "cursor", ["c", "c" * 1024], ["", "c" * 1025, *NO_TEXTS]),
    (DeliveriesPull, "ack", [], ["a", {}, [1], [""], ["a" * 256], ["a"] * 1001]),
]  # fmt: skip


def fields_of(model: type[Fields], **data: object) -> Fields:
    return model.model_validate({**NEEDED.get(model, {}), **data})


def cases(*, good: bool) -> list[Any]:
    return [
        pytest.param(model, name, value, id=f"{model.__name__}-{name}-{ascii(value)[:40]}")
        for model, name, inside, outside in RANGES
        for value in (inside if good else outside)
    ]


class TestRanges:
    @pytest.mark.parametrize(("model", "name", "value"), cases(good=True))
    def test_value_in_range_is_kept(self, model: type[Fields], name: str, value: object) -> None:
        kept = getattr(fields_of(model, **{name: value}), name)
        if isinstance(kept, Options):
            kept = kept.given()
        elif isinstance(kept, Fields):
            kept, value = kept.model_dump(), {"id": "7"}
        assert kept == value

    @pytest.mark.parametrize(("model", "name", "value"), cases(good=False))
    def test_value_out_of_range_is_refused(self, model: type[Fields], name: str, value: object) -> None:
        with pytest.raises(ValidationError) as raised:
            fields_of(model, **{name: value})
        assert {error["loc"][0] for error in raised.value.errors()} == {name}

    def test_every_field_has_its_range(self) -> None:
        judged = {(model, name) for model, name, _, _ in RANGES}
        named = {
            (model, name) for model in {*MODELS.values(), *QUERIES.values()} for name in model.model_fields
        }
        assert named - judged == {(Subject, "service_id"), (Change, "template_ignored")}


class TestServiceId:
    @pytest.mark.parametrize(
        "service_id",
        ["1", "1001", "a b", " ", " 1 ", "...", ".a", "-1", "größe", "日本", "a\\b", "%2F", "?#", "x" * 255],
    )
    def test_printable_text_is_kept_exactly(self, service_id: str) -> None:
        assert Subject(service_id=service_id).service_id == service_id

    @pytest.mark.parametrize(
        ("number", "text"),
        [("0", "0"), ("-0", "0"), ("1001", "1001"), (str(MOST + 1), str(MOST + 1)), ("9" * 255, "9" * 255)],
    )
    def test_integer_is_kept_as_text(self, number: str, text: str) -> None:
        assert Subject.model_validate({"service_id": json.loads(number)}).service_id == text

    @pytest.mark.parametrize(
        "service_id",
        [
            "", "x" * 256, "/", "a/b", ".", "..", "a\n", "\t", "a\x7f", "a\u00a0b", "a\u200bb", "\u2028",
            "\u202e1", -1, 1.0, -0.0, 10**255, True, False, None, [], ["1"], {},
        ],
    )  # fmt: skip
    def test_anything_else_is_refused(self, service_id: object) -> None:
        with pytest.raises(ValidationError):
            Subject.model_validate({"service_id": service_id})

    def test_integer_python_cannot_write_is_refused(self) -> None:
        with pytest.raises(ValidationError):
            Subject.model_validate({"service_id": 10**5000})


class TestClientId:
    @pytest.mark.parametrize(
        ("given", "kept"), [("7", "7"), (7, "7"), (0, "0"), ("a/b", "a/b"), ("c" * 255,) * 2]
    )
    def test_text_and_integer_are_kept_as_text(self, given: object, kept: str) -> None:
        order = fields_of(Create, client={"id": given})
        assert isinstance(order, Create)
        assert order.client is not None
        assert order.client.id == kept

    @pytest.mark.parametrize("given", ["", "c" * 256, "a\nb", -1, 1.0, True, [], 10**255])
    def test_anything_else_is_refused(self, given: object) -> None:
        with pytest.raises(ValidationError):
            fields_of(Create, client={"id": given})


class TestAddresses:
    @pytest.mark.parametrize(
        ("given", "kept"),
        [("2001:DB8:0:0::0001", "2001:db8::1"), ("0:0:0:0:0:0:0:0", "::"), ("192.0.2.1", "192.0.2.1")],
    )
    def test_address_is_kept_in_canonical_form(self, given: str, kept: str) -> None:
        rdns, link = fields_of(SetRdns, ip=given), fields_of(Link, ips=[given])
        assert isinstance(rdns, SetRdns)
        assert isinstance(link, Link)
        assert (rdns.ip, link.ips) == (kept, (kept,))

    def test_link_takes_256_addresses(self) -> None:
        link = fields_of(Link, ips=[f"192.0.2.{n}" for n in range(256)])
        assert isinstance(link, Link)
        assert len(link.ips) == 256

    def test_pull_acknowledges_1000_deliveries(self) -> None:
        pull = fields_of(DeliveriesPull, ack=["a" * 255] * 1000)
        assert isinstance(pull, DeliveriesPull)
        assert pull.ack == ("a" * 255,) * 1000


class TestAbsence:
    @pytest.mark.parametrize(("model", "name", "inside", "outside"), RANGES)
    def test_null_is_as_if_absent(
        self, model: type[Fields], name: str, inside: object, outside: object
    ) -> None:
        needed = name in NEEDED.get(model, {"backup": 0})
        if needed and model is not Change:
            with pytest.raises(ValidationError, match="missing"):
                fields_of(model, **{name: None})
        elif not needed:
            assert fields_of(model, **{name: None}) == fields_of(model)

    def test_defaults_harm_nobody(self) -> None:
        assert Terminate().immediate is False
        assert Create(plan="p").recreate is False
        assert (Suspend().force, Suspend().lock, Suspend().reason) == (False, False, "")
        assert Link(plan="p", vmid=1).status == "active"

    def test_unknown_fields_are_ignored(self) -> None:
        assert fields_of(Terminate, delete=True, service_id="x") == Terminate()

    @pytest.mark.parametrize("option", ["template", "cores", "CPU_CORES", ""])
    @pytest.mark.parametrize("value", [1, None])
    def test_unknown_options_are_refused(self, option: str, value: object) -> None:
        with pytest.raises(ValidationError, match="extra_forbidden"):
            fields_of(Create, options={"mem": 64, option: value})


class TestChange:
    @pytest.mark.parametrize(
        "data", [{"plan": "p"}, {"options": {"mem": 64}}, {"plan": "p", "options": {"mem": 64}}]
    )
    def test_plan_or_options_are_enough(self, data: dict[str, Any]) -> None:
        assert Change.model_validate(data).template_ignored is False

    @pytest.mark.parametrize(
        "data",
        [
            {},
            {"plan": None},
            {"options": {}},
            {"options": None},
            {"options": {"mem": None}},
            {"template": "x"},
        ],
    )
    def test_neither_is_refused(self, data: dict[str, Any]) -> None:
        with pytest.raises(ValidationError, match="nothing_asked"):
            Change.model_validate(data)

    @pytest.mark.parametrize(
        ("template", "ignored"), [("x", True), ("", True), (7, True), ({}, True), (None, False)]
    )
    def test_template_is_ignored_with_a_flag(self, template: object, ignored: bool) -> None:
        change = Change.model_validate({"plan": "p", "template": template})
        assert change.model_dump() == {
            "plan": "p",
            "options": dict.fromkeys(Options.model_fields),
            "template_ignored": ignored,
        }


class TestSchemas:
    @pytest.mark.parametrize("model", [*dict.fromkeys([*MODELS.values(), *QUERIES.values()]), SourceFields])
    def test_optional_field_may_be_null(self, model: type[Fields]) -> None:
        schema = model.model_json_schema()
        for name, field in schema.get("properties", {}).items():
            nullable = {"type": "null"} in field.get("anyOf", [])
            assert nullable == (name not in schema.get("required", []))

    @pytest.mark.parametrize(
        ("model", "name", "expected"),
        [
            (Options, "mem", {"minimum": 64, "maximum": 4194304, "type": "integer"}),
            (Options, "cpu_cores", {"description": "an integer from 1 to 1024"}),
            (Options, "disk", {"pattern": "^([1-9][0-9]{0,4})([MGT])$", "type": "string"}),
            (Suspend, "lock", {"type": "boolean", "description": "only an admin may lift the suspension"}),
        ],
    )  # fmt: skip
    def test_schema_says_the_range(self, model: type[Fields], name: str, expected: dict[str, Any]) -> None:
        field = model.model_json_schema()["properties"][name]["anyOf"][0]
        assert expected.items() <= field.items()

    def test_schema_of_service_id_allows_both(self) -> None:
        service_id = Subject.model_json_schema()["properties"]["service_id"]
        assert [one["type"] for one in service_id["anyOf"]] == ["string", "integer"]

    def test_schema_refuses_unknown_options(self) -> None:
        assert Options.model_json_schema()["additionalProperties"] is False
