"""Whether a message is one, and whether it can be carried out (contract, section 3)."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from provisioner.errors import EventMalformed, EventRejected, RequestInvalid
from provisioner.event import (
    TYPES,
    Envelope,
    Event,
    Query,
    Source,
    judge,
    judge_action,
    judge_query,
    parse,
    source_of,
)
from provisioner.event_models import (
    MODELS,
    QUERIES,
    Bare,
    Change,
    Create,
    Fields,
    Options,
    Subject,
    Terminate,
)
from provisioner.operation import Kind

LARGEST = 256 * 1024  # longer ones are answered 413 before they are read
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
Verdict = TypeVar("Verdict")
START = b'{"type": "service.start", "data": {"service_id": "1001"%s}}'

# The contract's table, in its order.
DOCUMENTED: list[tuple[str, Kind, set[str]]] = [
    ("order.paid", Kind.CREATE, {"plan", "template", "options", "hostname", "client", "recreate"}),
    ("service.link", Kind.LINK, {"vmid", "plan", "options", "ips", "hostname", "status"}),
    ("service.upgrade", Kind.CHANGE, {"plan", "options", "template"}),
    ("service.suspend", Kind.SUSPEND, {"reason", "force", "lock"}),
    ("service.unsuspend", Kind.UNSUSPEND, set()),
    ("service.terminate", Kind.TERMINATE, {"immediate"}),
    ("service.start", Kind.START, set()),
    ("service.shutdown", Kind.SHUTDOWN, set()),
    ("service.stop", Kind.STOP, set()),
    ("service.reboot", Kind.REBOOT, set()),
    ("service.force_reboot", Kind.FORCE_REBOOT, set()),
    ("service.reinstall", Kind.REINSTALL, {"template"}),
    ("service.reset_password", Kind.RESET_PASSWORD, set()),
    ("service.set_rdns", Kind.SET_RDNS, {"ip", "hostname"}),
    ("service.backup", Kind.BACKUP, set()),
    ("service.restore", Kind.RESTORE, {"backup"}),
]
DOCUMENTED_QUERIES = {
    "ping": {"drop_in_version"},
    "plans.list": set(),
    "templates.list": set(),
    "service.show": {"service_id"},
    "panel.link": {"service_id"},
    "services.list": {"cursor"},
    "deliveries.pull": {"ack"},
}
NO_OPTION = "is no option; there are cpu_cores, mem, disk, ip_count"

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
field_names = st.sampled_from(
    sorted({name for model in (*MODELS.values(), *QUERIES.values()) for name in model.model_fields})
)
shallow_values = st.sampled_from([1, "[{", [], {}, [[]], {"a": {}}, [1, {"b": [2]}]])
near_values = json_values | st.sampled_from(
    ["1", 1, 0, True, "10G", {"cpu_cores": 1}, {"id": 1}, ["::1"], "::1", "a.example", "active"]
)


# What is unstorable, what only looks so, and what neighbours make so or not.
escaped_texts = st.lists(
    st.sampled_from(
        ["\0", "\ud83d", "\ude00", "\udbff", "\udfff", "\ud7ff", "\ue000", "\U0001f600", "\\", "\\u0000",
         "u0000", "0000", "\\ud800", "\x01", "é", "a"]
    ),
    max_size=3,
).map("".join)  # fmt: skip


def values_of(texts: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    return st.recursive(
        st.none() | st.integers(0, 9) | texts,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
        max_leaves=6,
    )


def enveloped(type_: str = "service.start", source: object = None, **data: object) -> Envelope:
    body = {"type": type_, "data": {"service_id": "1001", **data}, "source": source}
    return parse(json.dumps(body).encode())


def documented(model: type[Fields]) -> set[str]:
    return set(model.model_json_schema()["properties"])


def malformed(raw: bytes) -> str:
    with pytest.raises(EventMalformed) as raised:
        parse(raw)
    return raised.value.public


def rejected(envelope: Envelope) -> tuple[str, str]:
    with pytest.raises(EventRejected) as raised:
        judge(envelope)
    assert raised.value.status == 422
    return raised.value.code, raised.value.public


def attempted(judging: Callable[[Envelope], Verdict], envelope: Envelope) -> Verdict | EventRejected:
    try:
        return judging(envelope)
    except EventRejected as rejection:
        return rejection


def levels_of(value: object) -> int:
    """As the contract counts them: what is no list and no object has none."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(levels_of, inner), default=0)


def texts_of(value: object) -> Iterator[str]:
    """Every name and every text in it."""
    if isinstance(value, str):
        yield value
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for one in (*(value if isinstance(value, dict) else ()), *inner):
        yield from texts_of(one)


def is_storable(text: str) -> bool:
    return "\0" not in text and text.encode(errors="replace").decode() == text


def nested(levels: int, inner: str = "1") -> bytes:
    """A message of so many levels; the body and `data` are the first two."""
    return START % (', "x": ' + "[" * (levels - 2) + inner + "]" * (levels - 2)).encode()


class TestParse:
    def test_message_is_told_apart(self) -> None:
        raw = b'{"type": "order.paid", "data": {"a": [1, "x"]}, "source": 7, "timestamp": "then"}'
        envelope = parse(raw)
        assert (envelope.type, envelope.data, envelope.source) == ("order.paid", {"a": [1, "x"]}, 7)
        assert envelope.body == json.loads(raw)

    @pytest.mark.parametrize(
        "raw",
        [
            b"", b" ", b"{", b"{}}", b"nonsense", b"{'type': 1}", b'{"type": "a", "data": {},}', START + b",",
            START % b', "x": NaN', START % b', "x": Infinity', START % b', "x": -Infinity',
            START % b', "x": 01', START % b', "x": 1.', START % b', "x": "\x00"', START % b', "x": "\n"',
            START % b', "x": "\\x"', b"\xff", START % b', "x": "\xff"', START % b', "x": "\xed\xa0\x80"',
            START % b', "x": "\xc0\x80"', b"\xef\xbb\xbf" + START % b"",
            (START % b"").decode().encode("utf-16"),
        ],
    )  # fmt: skip
    def test_what_is_not_json_is_malformed(self, raw: bytes) -> None:
        assert malformed(raw) == "the body is not JSON in UTF-8"

    @pytest.mark.parametrize("raw", [b"[]", b"1", b'"type"', b"null", b"true", b"1" * LARGEST])
    def test_what_is_no_object_is_malformed(self, raw: bytes) -> None:
        assert malformed(raw) == "the body is not an object"

    @pytest.mark.parametrize("type_", ["", '"type": 1,', '"type": null,', '"type": ["order.paid"],'])
    def test_type_that_is_no_string_is_malformed(self, type_: str) -> None:
        assert malformed(f'{{{type_} "data": {{}}}}'.encode()) == "type must be a string"

    @pytest.mark.parametrize("data", ["", ', "data": 1', ', "data": null', ', "data": []', ', "data": "{}"'])
    def test_data_that_is_no_object_is_malformed(self, data: str) -> None:
        assert malformed(f'{{"type": "order.paid"{data}}}'.encode()) == "data must be an object"

    @pytest.mark.parametrize("inner", ["1", "", '"text"'])
    def test_thirty_two_levels_are_read(self, inner: str) -> None:
        assert judge(parse(nested(32, inner))).kind is Kind.START

    @pytest.mark.parametrize("raw", [nested(33), nested(33, ""), nested(32, "{}"), nested(32, '1, {"a": 2}')])
    def test_thirty_three_levels_are_malformed(self, raw: bytes) -> None:
        assert malformed(raw) == "the body has more than 32 levels"

    def test_levels_count_outside_data_too(self) -> None:
        deep = b"[" * 32 + b"]" * 32
        assert malformed(b'{"type": "a", "data": {}, "x": %s}' % deep) == "the body has more than 32 levels"

    @unhurried
    @given(st.lists(st.tuples(st.booleans(), shallow_values, st.booleans()), min_size=28, max_size=32))
    def test_levels_count_wherever_they_are(self, around: list[tuple[bool, object, bool]]) -> None:
        deep: object = 1
        for is_list, beside, is_first in around:
            pair = [deep, beside] if is_first else [beside, deep]
            deep = pair if is_list else dict(zip("ab", pair, strict=True))
        body = {"type": "service.start", "data": {"service_id": "1001"}, "x": deep}
        raw = json.dumps(body).encode()
        if levels_of(body) > 32:
            assert malformed(raw) == "the body has more than 32 levels"
        else:
            assert parse(raw).body == body

    @pytest.mark.parametrize(
        "raw",
        [
            b"[" * LARGEST,
            b'{"a":' * (LARGEST // 5),
            b"[" * (LARGEST // 2) + b"]" * (LARGEST // 2),
            b'{"type": "a", "data": ' + b'{"a":' * 20_000 + b"1" + b"}" * 20_001,
            b"1" * LARGEST,
            b"1" * LARGEST + b".5",
            b"-" * LARGEST,
            b'"' + b"\\" * LARGEST,
            b"[" + b"[]," * 80_000 + b"[]]",
        ],
        ids=["arrays", "objects", "closed", "in data", "digits", "fraction", "signs", "escapes", "wide"],
    )
    def test_hostile_body_is_malformed_quickly(self, raw: bytes) -> None:
        began = time.process_time()
        malformed(raw)
        assert time.process_time() - began < 1.0

    @pytest.mark.parametrize(
        "extra",
        [
            b', "x": ' + b"9" * 260_000,
            b', "x": -' + b"9" * 260_000,
            b', "x": 0.' + b"9" * 260_000,
            b', "x": 1e' + b"9" * 260_000,
            b', "x": "' + b"x" * 260_000 + b'"',
            b', "' + b"x" * 260_000 + b'": 1',
        ],
        ids=["digits", "negative", "fraction", "exponent", "text", "key"],
    )
    def test_huge_unknown_value_is_ignored_quickly(self, extra: bytes) -> None:
        began = time.process_time()
        event = judge(parse(START % extra))
        assert time.process_time() - began < 1.0
        assert event.service_id == "1001"

    @pytest.mark.parametrize("number", ["1e400", "-1e400", "9" * 5000, "-" + "9" * 5000])
    def test_number_beyond_all_can_be_kept(self, number: str) -> None:
        envelope = parse(START % f', "x": {number}'.encode())
        again = json.dumps(envelope.body, allow_nan=False).encode()
        assert parse(again) == envelope
        assert (envelope.data["x"] < 0) == number.startswith("-")
        assert abs(envelope.data["x"]) >= 10**255

    def test_longest_exact_integer_has_255_digits(self) -> None:
        assert parse(START % b', "x": -%s' % (b"9" * 255)).data["x"] == -(10**255 - 1)
        assert parse(START % b', "x": %s' % (b"9" * 256)).data["x"] == 10**255

    def test_last_of_equal_keys_counts(self) -> None:
        assert parse(START % b', "service_id": "1002"').data == {"service_id": "1002"}

    @unhurried
    @given(st.binary())
    def test_arbitrary_bytes_are_malformed_only(self, raw: bytes) -> None:
        malformed(raw)

    @unhurried
    @given(json_values, json_values, st.none() | json_values)
    def test_arbitrary_json_is_told_apart(self, type_: object, data: object, source: object) -> None:
        raw = json.dumps({"type": type_, "data": data, "source": source}).encode()
        if isinstance(type_, str) and isinstance(data, dict):
            assert parse(raw).data == data
        else:
            malformed(raw)


class TestDigest:
    def test_order_and_white_space_do_not_matter(self) -> None:
        one = parse(b'{"type":"a","data":{"x":{"b":1,"c":[1,2]},"y":"\\u00e9"}}')
        other = parse('{ "data": {"y": "é", "x": {"c": [1, 2], "b": 1}},\n "type": "a" }'.encode())
        assert one.digest == other.digest
        assert len(one.digest) == 64

    def test_only_type_and_data_matter(self) -> None:
        assert enveloped(source={"installation": "one"}).digest == enveloped(source=None).digest

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            (1, True),
            (1, 1.0),
            (1, "1"),
            (None, "null"),
            ([1, 2], [2, 1]),
            ({}, []),
            ("a", "a "),
            ("\ud800", "?"),
        ],
    )
    def test_other_data_has_another_digest(self, one: object, other: object) -> None:
        assert enveloped(x=one).digest != enveloped(x=other).digest

    def test_digest_is_the_one_that_stores_hold(self) -> None:
        """An id that was accepted by a version before is not taken for one that was used again."""
        raw = '{"type": "order.paid", "data": {"plan": "é \\u0000 /", "b": [1, 1.5, null, {"d": 1, "c": 2}]}}'
        told = '["order.paid",{"b":[1,1.5,null,{"c":2,"d":1}],"plan":"\\u00e9 \\u0000 /"}]'
        assert parse(raw.encode()).digest == sha256(told.encode("ascii")).hexdigest()

    def test_other_type_has_another_digest(self) -> None:
        assert enveloped("service.start").digest != enveloped("service.stop").digest

    def test_null_and_absent_have_other_digests(self) -> None:
        assert enveloped(reason=None).digest != enveloped().digest

    @unhurried
    @given(st.dictionaries(st.text(), json_values, max_size=3))
    def test_digest_survives_being_kept(self, data: dict[str, Any]) -> None:
        envelope = parse(json.dumps({"type": "a", "data": data}).encode())
        assert parse(json.dumps(envelope.body, sort_keys=True, indent=1).encode()).digest == envelope.digest


class TestSource:
    @pytest.mark.parametrize(
        ("source", "expected"),
        [
            (None, Source(None, "", "")),
            ({}, Source(None, "", "")),
            ({"installation": None, "actor": None}, Source(None, "", "")),
            ({"installation": "https://shop/#4f2a", "more": 1}, Source("https://shop/#4f2a", "", "")),
            ({"actor": {"type": "cron", "name": ""}}, Source(None, "cron", "")),
            ({"actor": {"type": "admin", "name": "Änne O'Hara"}}, Source(None, "admin", "Änne O'Hara")),
            ({"actor": {"type": None, "name": None}}, Source(None, "", "")),
            ({"installation": "x" * 512}, Source("x" * 512, "", "")),
            ({"actor": {"type": "x" * 32, "name": "n" * 255}}, Source(None, "x" * 32, "n" * 255)),
        ],
    )
    def test_documented_shape_is_read(self, source: object, expected: Source) -> None:
        assert source_of(enveloped(source=source)) == expected

    @pytest.mark.parametrize(
        ("source", "path"),
        [
            ("shop", "source"),
            ([], "source"),
            (False, "source"),
            ({"installation": ""}, "source.installation"),
            ({"installation": 1}, "source.installation"),
            ({"installation": "x" * 513}, "source.installation"),
            ({"installation": "a\nb"}, "source.installation"),
            ({"installation": "a\0b"}, "source.installation"),
            ({"installation": "\ud800"}, "source.installation"),
            ({"actor": "cron"}, "source.actor"),
            ({"actor": {"type": ""}}, "source.actor.type"),
            ({"actor": {"type": "two words"}}, "source.actor.type"),
            ({"actor": {"type": "cron\n"}}, "source.actor.type"),
            ({"actor": {"type": "x" * 33}}, "source.actor.type"),
            ({"actor": {"type": 1}}, "source.actor.type"),
            ({"actor": {"name": "n" * 256}}, "source.actor.name"),
            ({"actor": {"name": "\x1b[2J"}}, "source.actor.name"),
            ({"actor": {"name": 7}}, "source.actor.name"),
        ],
    )
    def test_another_shape_is_rejected(self, source: object, path: str) -> None:
        with pytest.raises(EventRejected) as raised:
            source_of(enveloped(source=source))
        assert (raised.value.code, raised.value.status) == ("invalid_field", 422)
        assert raised.value.public.startswith(f"{path} must be ")

    @unhurried
    @given(json_values)
    def test_arbitrary_source_is_rejected_only(self, source: object) -> None:
        verdict = attempted(source_of, enveloped(source=source))
        assert isinstance(verdict, Source) or verdict.code == "invalid_field"


class TestJudge:
    def test_every_kind_has_one_type(self) -> None:
        assert sorted(TYPES.values()) == sorted(Kind)

    @pytest.mark.parametrize(("type_", "kind", "fields"), DOCUMENTED)
    def test_type_carries_its_documented_fields(self, type_: str, kind: Kind, fields: set[str]) -> None:
        assert TYPES[type_] is kind
        assert documented(MODELS[kind]) == fields

    def test_event_carries_its_model(self) -> None:
        assert judge(enveloped("order.paid", plan="vps-s", options={"mem": 2048})) == Event(
            type="order.paid",
            kind=Kind.CREATE,
            service_id="1001",
            data=Create(plan="vps-s", options=Options(mem=2048)),
        )

    def test_example_of_the_contract_is_good(self) -> None:
        raw = (
            b'{"type": "order.paid", "timestamp": "2026-11-23T12:00:00Z",'
            b'"data": {"service_id": "1001", "plan": "vps-s", "template": "Debian10.0",'
            b'"hostname": "web1.example.com",'
            b'"options": {"cpu_cores": 2, "mem": 2048, "disk": "20G", "ip_count": 2}, "client": {"id": "7"}},'
            b'"source": {"installation": "https://billing.example.com/#4f2a",'
            b'"actor": {"type": "cron", "name": ""}}}'
        )
        data = judge(parse(raw)).data
        assert isinstance(data, Create)
        assert data.options.given() == {"cpu_cores": 2, "mem": 2048, "disk": "20G", "ip_count": 2}
        assert data.client is not None
        assert data.client.id == "7"
        assert source_of(parse(raw)) == Source("https://billing.example.com/#4f2a", "cron", "")

    @pytest.mark.parametrize(
        "type_", ["", "order", "Order.paid", "order.paid ", "service.create", "x" * 10_000]
    )
    def test_unknown_type_is_rejected_unseen(self, type_: str) -> None:
        code, message = rejected(enveloped(type_))
        assert code == "unknown_type"
        assert message == f"type must be one of {', '.join(TYPES)}"

    @pytest.mark.parametrize(
        "bad", [r"\u0000", r"a\u0000b", r"\ud800", r"\uD8Ff", r"a\udfff", r"a\uDFFF", r"\udc00\ud800"]
    )
    @pytest.mark.parametrize(
        ("body", "path"),
        [
            ({"type": "?", "data": {}}, "type"),
            ({"type": "service.start", "data": {"service_id": "?"}}, "data.service_id"),
            ({"type": "service.start", "data": {"service_id": "1", "x": [{"y": "?"}]}}, "data.x[0].y"),
            ({"type": "service.start", "data": {"service_id": "1", "?": 1}}, "data.…"),
            ({"type": "service.start", "data": {"service_id": "1"}, "x": {"?": {}}}, "x.…"),
            ({"type": "service.start", "data": {"service_id": "1"}, "timestamp": "?"}, "timestamp"),
            ({"type": "unknown", "data": {"x": "?"}}, "data.x"),
        ],
    )
    def test_unstorable_text_is_rejected(self, body: dict[str, Any], path: str, bad: str) -> None:
        envelope = parse(json.dumps(body).replace("?", bad).encode())
        for verdict in (judge, judge_query):
            with pytest.raises(EventRejected) as raised:
                verdict(envelope)
            assert raised.value.code == "invalid_field"
            assert (
                raised.value.public == f"{path} must have no NUL and no lone surrogate in its name or value"
            )

    @unhurried
    @given(
        st.dictionaries(escaped_texts, values_of(escaped_texts), max_size=3),
        values_of(escaped_texts),
        st.sampled_from([str.lower, str.upper]),
        st.booleans(),
    )
    def test_unstorable_text_is_found_wherever_it_is(
        self, data: dict[str, Any], beside: object, spelling: Callable[[str], str], is_ascii: bool
    ) -> None:
        body = {"type": "service.start", "data": {**data, "service_id": "1001"}, "x": beside}
        text = json.dumps(body, ensure_ascii=is_ascii)
        text = re.sub("[\ud800-\udfff]", lambda bare: f"\\u{ord(bare[0]):x}", text)
        text = re.sub(r"(?<=\\u)[0-9a-f]{4}", lambda digits: spelling(digits[0]), text)
        envelope = parse(text.encode())
        verdicts = [attempted(judging, envelope) for judging in (judge, judge_query)]
        found = [isinstance(one, EventRejected) and "NUL" in one.public for one in verdicts]
        assert found == [not all(map(is_storable, texts_of(envelope.body)))] * 2

    def test_unstorable_text_that_another_one_replaces_is_no_part_of_the_message(self) -> None:
        raw = START % b', "x": "\\u0000", "x": 1'
        assert judge(parse(raw)).service_id == "1001"

    def test_paired_surrogates_are_text(self) -> None:
        assert judge(parse(START % b', "x": "\\ud83d\\ude00", "\\\\u0000": "\\\\ud800"')).service_id == "1001"

    @pytest.mark.parametrize(
        ("data", "message"),
        [
            ({"plan": None}, "data.plan is missing"),
            ({"plan": 7}, "data.plan must be a name of 1 to 255 characters, not 7"),
            ({"plan": "p", "options": []}, "data.options must be an object, not a list"),
            ({"plan": "p", "options": {"cpu": 1}}, f"data.options.cpu {NO_OPTION}"),
            ({"plan": "p", "options": {"\n": 1}}, f"data.options.… {NO_OPTION}"),
            (
                {"plan": "p", "options": {"mem": "2048"}},
                "data.options.mem must be an integer from 64 to 4194304, in MB, not a string of length 4",
            ),
            (
                {"plan": "p", "options": {"mem": 1024.0, "ip_count": False}},
                "data.options.mem must be an integer from 64 to 4194304, in MB, not 1024.0; "
                "data.options.ip_count must be an integer from 1 to 256, not false",
            ),
            ({"plan": {}}, "data.plan must be a name of 1 to 255 characters, not an object"),
            ({"plan": 10**99}, "data.plan must be a name of 1 to 255 characters, not so large a number"),
        ],
    )  # fmt: skip
    def test_refusal_says_what_would_be_right(self, data: dict[str, object], message: str) -> None:
        assert rejected(enveloped("order.paid", **data)) == ("invalid_field", message)

    @pytest.mark.parametrize(
        "data",
        [
            {"options": {"x" * 10_000: 1}},
            {"options": {str(number): 1 for number in range(10_000)}},
            {"plan": "hunter2" * 10_000, "hostname": "hunter2" * 10_000},
            {"plan": 10**255, "options": {"mem": -(10**255)}},
        ],
    )
    def test_refusal_is_short_and_repeats_no_text(self, data: dict[str, object]) -> None:
        _, message = rejected(enveloped("order.paid", **data))
        assert len(message) < 700
        assert "hunter2" not in message

    @pytest.mark.parametrize(
        "raw",
        [
            b'{"type": "order.paid", "data": {"service_id": %s}}' % (b"9" * 260_000),
            b'{"type": "order.paid", "data": {"service_id": "%s"}}' % (b"9" * 260_000),
            b'{"type": "order.paid", "data": {"service_id": 1, "plan": "p", "hostname": "%s"}}'
            % (b"a." * 130_000),
            b'{"type": "service.set_rdns", "data": {"service_id": 1, "ip": "%s", "hostname": "a"}}'
            % (b"1:" * 130_000),
            b'{"type": "service.link", "data": {"service_id": 1, "vmid": 1, "plan": "p", "ips": [%s1]}}'
            % (b'"x",' * 60_000),
            b'{"type": "order.paid", "data": {"service_id": 1, "plan": "p", "options": {"disk": "%s"}}}'
            % (b"9" * 260_000),
        ],
        ids=["service_id", "text", "hostname", "ip", "ips", "disk"],
    )  # fmt: skip
    def test_hostile_field_is_rejected_quickly(self, raw: bytes) -> None:
        began = time.process_time()
        code, _ = rejected(parse(raw))
        assert time.process_time() - began < 1.0
        assert code == "invalid_field"

    @unhurried
    @given(
        st.sampled_from([*TYPES, *QUERIES]),
        st.dictionaries(field_names | st.text(), near_values),
    )
    def test_arbitrary_fields_are_rejected_only(self, type_: str, data: dict[str, Any]) -> None:
        envelope = parse(json.dumps({"type": type_, "data": data}).encode())
        verdict = attempted(judge, envelope)
        if isinstance(verdict, Event):
            assert type(verdict.data) is MODELS[TYPES[type_]]
        else:
            assert verdict.code == "invalid_field" or type_ not in TYPES
            assert len(verdict.public) < 1000


class TestJudgeAction:
    def test_fields_are_those_of_the_event(self) -> None:
        assert judge_action(Kind.TERMINATE, {"action": "terminate", "immediate": True}) == Terminate(
            immediate=True
        )
        assert judge_action(Kind.START, {"service_id": []}) == Bare()

    @pytest.mark.parametrize(
        ("kind", "data", "message"),
        [
            (
                Kind.TERMINATE,
                {"immediate": "false"},
                "immediate must be true or false, not a string of length 5",
            ),
            (Kind.CREATE, {}, "plan is missing"),
            (Kind.CHANGE, {}, "the body needs a plan, or options with a value, or both"),
            (
                Kind.SUSPEND,
                {"reason": "\0"},
                "reason must have no NUL and no lone surrogate in its name or value",
            ),
        ],
    )
    def test_wrong_fields_are_an_invalid_request(
        self, kind: Kind, data: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(RequestInvalid) as raised:
            judge_action(kind, data)
        assert (raised.value.code, raised.value.public) == ("invalid_field", message)

    def test_ignored_template_is_remembered(self) -> None:
        change = judge_action(Kind.CHANGE, {"plan": "p", "template": 1})
        assert isinstance(change, Change)
        assert change.template_ignored


class TestJudgeQuery:
    @pytest.mark.parametrize(("type_", "fields"), DOCUMENTED_QUERIES.items())
    def test_query_has_its_documented_fields(self, type_: str, fields: set[str]) -> None:
        assert documented(QUERIES[type_]) == fields

    def test_every_query_is_documented(self) -> None:
        assert set(QUERIES) == set(DOCUMENTED_QUERIES)

    @pytest.mark.parametrize("type_", QUERIES)
    def test_query_carries_its_model(self, type_: str) -> None:
        query = judge_query(enveloped(type_))
        assert (query.type, type(query.data)) == (type_, QUERIES[type_])

    def test_service_of_a_query_is_known(self) -> None:
        assert judge_query(enveloped("service.show", service_id=7)) == Query(
            "service.show", Subject(service_id="7")
        )

    @pytest.mark.parametrize("type_", ["service.show", "panel.link"])
    def test_query_about_no_service_is_rejected(self, type_: str) -> None:
        with pytest.raises(EventRejected, match=r"^data\.service_id is missing$"):
            judge_query(enveloped(type_, service_id=None))

    @pytest.mark.parametrize("type_", ["", "order.paid", "service.list"])
    def test_unknown_query_is_rejected(self, type_: str) -> None:
        with pytest.raises(EventRejected) as raised:
            judge_query(enveloped(type_))
        assert raised.value.code == "unknown_type"

    @unhurried
    @given(st.sampled_from([*QUERIES]), st.dictionaries(field_names, near_values))
    def test_arbitrary_query_is_rejected_only(self, type_: str, data: dict[str, Any]) -> None:
        envelope = parse(json.dumps({"type": type_, "data": data}).encode())
        verdict = attempted(judge_query, envelope)
        if isinstance(verdict, Query):
            assert type(verdict.data) is QUERIES[type_]
        else:
            assert verdict.code == "invalid_field"
