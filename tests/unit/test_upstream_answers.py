"""Every answer of the reseller API becomes a well-typed value or the error that says what is next."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provisioner.errors import (
    JobNotFound,
    TokenRefused,
    UpstreamError,
    UpstreamOutcomeUnknown,
    UpstreamRefused,
    UpstreamUnavailable,
    VmNotFound,
)
from provisioner.line import retry_after_s
from provisioner.redact import scrubber
from provisioner.upstream import BackupStatus, Credentials, Job, JobOutput, VmConfig, VmStatus
from provisioner.upstream.answers import (
    CODES,
    LONGEST_EXCERPT,
    Answer,
    Ask,
    CallKind,
    describe,
    is_job_id,
    judge,
    read_backup_status,
    read_backups,
    read_change,
    read_config,
    read_done,
    read_job,
    read_job_id,
    read_password,
    read_status,
    read_templates,
    read_vmids,
)

NOON_S = 1_795_435_200.0
TOKEN = "1|qpVodrZ3edt0DV4Q81dxQekTAessUHcH0Zjqv4t6"
PASSWORD = "hunter2"
SCRUB = scrubber([TOKEN])

LIST = Ask("GET", "datacenter/server", CallKind.REPEATABLE, read_vmids)
START = Ask("PUT", "datacenter/server/4001/start", CallKind.REPEATABLE, read_done)
DELETE = Ask("POST", "datacenter/server/4001/delete", CallKind.ONCE, read_done)
REINSTALL = Ask("PUT", "datacenter/server/4001/reinstall", CallKind.ONCE, read_job_id)
RESET = Ask("PUT", "datacenter/server/4001/password/reset", CallKind.ONCE, read_password, secret=True)
CREATE = Ask("POST", "datacenter/server", CallKind.CREATE, read_job_id)
JOB = Ask("GET", "job/23", CallKind.REPEATABLE, read_job, secret=True)
ASKS: tuple[Ask[Any], ...] = (LIST, START, DELETE, REINSTALL, RESET, CREATE, JOB)
ONCE: tuple[Ask[Any], ...] = (DELETE, REINSTALL, RESET, CREATE)

UNCLEAR = object()  # Unavailable for what may be repeated, OutcomeUnknown for what may not


def answer(
    status: int, document: object = None, *, body: bytes | None = None, retry_after: str = ""
) -> Answer:
    return Answer(status, json.dumps(document).encode() if body is None else body, retry_after)


def refused(error: object) -> dict[str, object]:
    return {"result": False, "error": error}


def judged(ask: Ask[Any], given: Answer) -> Any:
    return judge(ask, given, now_s=NOON_S, scrub=SCRUB)


def outcome(ask: Ask[Any], given: Answer) -> object:
    try:
        return judged(ask, given)
    except UpstreamError as error:
        return error


def error_of(ask: Ask[Any], given: Answer) -> UpstreamError:
    error = outcome(ask, given)
    assert isinstance(error, UpstreamError)
    return error


@dataclass(frozen=True)
class Case:
    answer: Answer
    expected: object
    code: str = ""


SORTED = {
    # A code decides, whatever the status.
    "no such VM": Case(answer(404, refused("0x01: no vm with id 4001 found")), VmNotFound, "0x01"),
    "no such VM with 200": Case(answer(200, refused("0x01: no vm with id 4001 found")), VmNotFound, "0x01"),
    "no such VM with 500": Case(answer(500, refused("0x01: no vm")), VmNotFound, "0x01"),
    "token": Case(answer(401, refused("0x03: unauthorized")), TokenRefused, "0x03"),
    "token with 200": Case(answer(200, refused("0x03: unauthorized")), TokenRefused, "0x03"),
    "token with 500": Case(answer(500, refused("0x03: unauthorized")), TokenRefused, "0x03"),
    "job": Case(answer(404, refused("0xc1: job not found")), JobNotFound, "0xc1"),
    "backup": Case(answer(400, refused("0xa5: no target backup defined")), UpstreamRefused, "0xa5"),
    "limits": Case(answer(400, refused("0xb0: Requested resources exceed")), UpstreamRefused, "0xb0"),
    "limits with 503": Case(
        answer(503, refused("0xb0: Requested resources exceed")), UpstreamRefused, "0xb0"
    ),
    "parameter": Case(answer(400, refused("0xb1: Missing required parameter")), UpstreamRefused, "0xb1"),
    "parameter with 401": Case(answer(401, refused("0xb1: Missing required")), UpstreamRefused, "0xb1"),
    "parameter with 302": Case(answer(302, refused("0xb1: Missing required")), UpstreamRefused, "0xb1"),
    "capitals": Case(answer(400, refused("0XB1: Missing")), UpstreamRefused, "0xb1"),
    "spaces before": Case(answer(400, refused("  0xB1: Missing")), UpstreamRefused, "0xb1"),
    "code alone": Case(answer(400, refused("0xb1")), UpstreamRefused, "0xb1"),
    "error without result": Case(answer(400, {"error": "0xb1: Missing"}), UpstreamRefused, "0xb1"),
    "unknown code": Case(answer(500, refused("0xd7: something new")), UpstreamRefused, "0xd7"),
    # Codes that do not say whether anything happened.
    "signal": Case(answer(500, refused("0xa1: failed to send start signal to vm")), UNCLEAR, "0xa1"),
    "signal with 200": Case(answer(200, refused("0xa1: failed to send")), UNCLEAR, "0xa1"),
    "timeout": Case(answer(500, refused("0xa3: timeout")), UNCLEAR, "0xa3"),
    "timeout with 404": Case(answer(404, refused("0xA3: timeout")), UNCLEAR, "0xa3"),
    # Without a code the status decides.
    "401 page": Case(answer(401, body=b"<html>401</html>"), TokenRefused, "0x03"),
    "401 JSON": Case(answer(401, {"message": "Unauthenticated."}), TokenRefused, "0x03"),
    "401 empty": Case(answer(401, body=b""), TokenRefused, "0x03"),
    "403 page": Case(answer(403, body=b"<html>403</html>"), TokenRefused, "0x03"),
    "403 broken off": Case(Answer(403, trouble="no answer within 1 s"), TokenRefused, "0x03"),
    "429": Case(answer(429, {"message": "Too Many Attempts."}), UpstreamUnavailable),
    "429 with a code": Case(answer(429, refused("0xb1: Missing")), UpstreamUnavailable),
    "429 with a result": Case(answer(429, {"result": {"jobId": 15}}), UpstreamUnavailable),
    "429 page": Case(answer(429, body=b"<html>"), UpstreamUnavailable),
    "429 broken off": Case(Answer(429, trouble="connection reset by peer"), UpstreamUnavailable),
    "400 without code": Case(answer(400, refused("bad")), UNCLEAR),
    "404 page": Case(answer(404, body=b"<html>404</html>"), UNCLEAR),
    "404 without code": Case(answer(404, {"message": "No query results"}), UNCLEAR),
    "405 page": Case(answer(405, body=b"<html>"), UNCLEAR),
    "500 page": Case(answer(500, body=b"<html>"), UNCLEAR),
    "502 page": Case(answer(502, body=b"<html>502 Bad Gateway</html>"), UNCLEAR),
    "503 without code": Case(answer(503, {"message": "Be right back."}), UNCLEAR),
    "500 with a result": Case(answer(500, {"result": {"jobId": 15}}), UNCLEAR),
    "redirect": Case(answer(302, body=b""), UNCLEAR),
    "redirect with a result": Case(answer(307, {"result": {"jobId": 15}}), UNCLEAR),
    "early hints": Case(answer(103, body=b""), UNCLEAR),
    "200 page": Case(answer(200, body=b"<html>Welcome</html>"), UNCLEAR),
    "200 empty": Case(answer(200, body=b""), UNCLEAR),
    "204": Case(answer(204, body=b""), UNCLEAR),
    "200 broken JSON": Case(answer(200, body=b'{"result": {"jobId": 1'), UNCLEAR),
    "200 no UTF-8": Case(answer(200, body=b'{"result": "\xff\xfe\xfd"}'), UNCLEAR),
    "200 NaN": Case(answer(200, body=b'{"result": {"jobId": 15, "progress": NaN}}'), UNCLEAR),
    "200 infinity": Case(answer(200, body=b'{"result": [-Infinity]}'), UNCLEAR),
    "200 endless depth": Case(answer(200, body=b"[" * 200_000), UNCLEAR),
    "200 endless digits": Case(answer(200, body=b'{"result": ' + b"9" * 9000 + b"}"), UNCLEAR),
    "200 list": Case(answer(200, [4001]), UNCLEAR),
    "200 null": Case(answer(200, None), UNCLEAR),
    "200 no result": Case(answer(200, {}), UNCLEAR),
    "200 result null": Case(answer(200, {"result": None}), UNCLEAR),
    "200 result false": Case(answer(200, {"result": False}), UNCLEAR),
    "200 error without code": Case(answer(200, {"result": True, "error": "something went wrong"}), UNCLEAR),
    "200 error object": Case(answer(200, {"result": [4001], "error": {"code": "0xb1"}}), UNCLEAR),
    "200 broken off": Case(Answer(200, trouble="no answer within 1 s"), UNCLEAR),
    "no answer": Case(Answer(trouble="no answer within 1 s"), UNCLEAR),
    "code not first": Case(answer(400, refused("error 0xb1: Missing")), UNCLEAR),
    "code that is a word": Case(answer(400, refused("0xa1failed")), UNCLEAR),
    "code without digits": Case(answer(400, refused("0x: none")), UNCLEAR),
    "not sent": Case(Answer(trouble="connection refused", sent=False), UpstreamUnavailable),
}


@pytest.mark.parametrize("ask", ASKS, ids=str)
@pytest.mark.parametrize("case", SORTED.values(), ids=SORTED.keys())
def test_answer_is_sorted_by_code_then_status(ask: Ask[Any], case: Case) -> None:
    expected = case.expected
    if expected is UNCLEAR:
        expected = UpstreamOutcomeUnknown if ask in ONCE else UpstreamUnavailable
    error = error_of(ask, case.answer)
    assert type(error) is expected
    if case.code:
        assert error.code == case.code


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("code", ["0xa1", "0xa3"])
def test_refused_token_proves_nothing_was_made(status: int, code: str) -> None:
    given = answer(status, refused(f"{code}: timeout"))
    assert type(error_of(CREATE, given)) is TokenRefused
    assert error_of(CREATE, given).code == "0x03"
    assert type(error_of(REINSTALL, given)) is UpstreamOutcomeUnknown
    assert type(error_of(START, given)) is UpstreamUnavailable


@pytest.mark.parametrize("ask", [CREATE, REINSTALL], ids=str)
@pytest.mark.parametrize("error", ["0xb1: Missing", "0x03: unauthorized", "0xd7: new"])
def test_refusal_beside_job_is_unknown(ask: Ask[str], error: str) -> None:
    given = answer(200, {"result": {"status": "queued", "jobId": 15}, "error": error})
    assert type(error_of(ask, given)) is UpstreamOutcomeUnknown


@pytest.mark.parametrize("error", [None, "", False])
def test_empty_error_beside_result_is_none(error: object) -> None:
    assert judged(CREATE, answer(200, {"result": {"jobId": 15}, "error": error})) == "15"


@pytest.mark.parametrize("status", [200, 201, 202])
def test_any_success_status_is_read(status: int) -> None:
    assert judged(CREATE, answer(status, {"result": {"status": "queued", "jobId": 15}})) == "15"


@pytest.mark.parametrize("ask", ASKS, ids=str)
@pytest.mark.parametrize("case", SORTED.values(), ids=SORTED.keys())
def test_error_names_call_and_advice(ask: Ask[Any], case: Case) -> None:
    error = error_of(ask, case.answer)
    assert error.detail.startswith(f"{ask}: ")
    assert "; " in error.detail
    assert str(error) == error.detail
    assert len(error.detail) < LONGEST_EXCERPT + 200


@pytest.mark.parametrize("ask", ASKS, ids=str)
@pytest.mark.parametrize("case", SORTED.values(), ids=SORTED.keys())
def test_customer_never_reads_of_the_upstream(ask: Ask[Any], case: Case) -> None:
    public = error_of(ask, case.answer).public
    assert public.endswith(".")
    for word in ("venocix", "upstream", "reseller", "api", "0x", "http", "datacenter", "token"):
        assert word not in public.lower()


def test_documented_codes_are_all_in_the_table() -> None:
    assert set(CODES) == {"0x01", "0x03", "0xa1", "0xa3", "0xa5", "0xb0", "0xb1", "0xc1"}


def test_message_quotes_what_was_said() -> None:
    error = error_of(START, answer(500, refused("0xa1: failed to send start signal to vm")))
    assert str(error).startswith("PUT datacenter/server/4001/start: 500, ")
    assert "0xa1: failed to send start signal to vm" in str(error)


def test_message_names_missing_answer() -> None:
    error = error_of(START, Answer(trouble="no answer within 30 s"))
    assert str(error) == "PUT datacenter/server/4001/start: no answer within 30 s; try again later"


def test_message_names_broken_answer() -> None:
    error = error_of(LIST, Answer(200, trouble="no answer within 30 s"))
    assert str(error) == "GET datacenter/server: 200, no answer within 30 s; try again later"


def test_message_names_odd_answer() -> None:
    error = error_of(LIST, answer(200, {"result": [4001, "4002"]}))
    assert str(error).endswith(
        '200, {"result": [4001, "4002"]}: a vmid that is no whole number; try again later'
    )


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("0", 0.0),
        ("7", 7.0),
        (" 7 ", 7.0),
        ("3600", 3600.0),
        ("86400", 3600.0),
        ("9" * 5000, 3600.0),
        ("Mon, 23 Nov 2026 12:00:30 GMT", 30.0),
        ("Mon, 23 Nov 2026 12:00:30 -0000", 30.0),
        ("Mon, 23 Nov 2026 11:00:00 GMT", 0.0),
        ("Tue, 24 Nov 2026 12:00:00 GMT", 3600.0),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("nan", None),
        ("soon", None),
        ("٧", None),
        ("7, 7", None),
        ("Mon, 99 Nov 2026 12:00:30 GMT", None),
        ("Mon, 23 Nov 99999 12:00:30 GMT", None),
    ],
)
def test_retry_after_is_seconds_within_an_hour(header: str, expected: float | None) -> None:
    assert retry_after_s(header, NOON_S) == expected
    error = error_of(LIST, answer(429, {"message": "Too Many Attempts."}, retry_after=header))
    assert isinstance(error, UpstreamUnavailable)
    assert error.retry_after_s == expected


def test_date_without_zone_is_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("TZ", "EAST-9")
        time.tzset()
        assert retry_after_s("Mon, 23 Nov 2026 12:00:30 -0000", NOON_S) == 30.0
    time.tzset()


def test_maintenance_page_names_its_end() -> None:
    error = error_of(LIST, answer(503, body=b"<html>", retry_after="120"))
    assert isinstance(error, UpstreamUnavailable)
    assert error.retry_after_s == 120.0


@given(st.text())
def test_any_retry_after_is_bounded(header: str) -> None:
    seconds = retry_after_s(header, NOON_S)
    assert seconds is None or 0 <= seconds <= 3600


READ: list[tuple[Callable[[object], object], object, object]] = [
    (read_done, True, None),
    (read_done, "pending", None),
    (read_done, {}, None),
    (read_job_id, {"status": "queued", "jobId": 15, "progress": 0}, "15"),
    (read_job_id, {"jobId": 0}, "0"),
    (read_job_id, {"jobId": "a-1.b_2"}, "a-1.b_2"),
    (read_job_id, {"jobId": "x" * 64}, "x" * 64),
    (read_change, True, None),
    (read_change, {"status": "queued", "jobId": 15}, "15"),
    (read_change, {"jobId": None}, None),
    (read_change, [], None),
    (read_password, {"status": "success", "password": "p w"}, "p w"),
    (read_vmids, [4001, 4002, 4001], frozenset({4001, 4002})),
    (read_vmids, [], frozenset()),
    (read_templates, ["Debian10.0", "Ubuntu18.04"], ("Debian10.0", "Ubuntu18.04")),
    (read_templates, [], ()),
    (read_backups, [1606685300, 1606585800], (1606685300, 1606585800)),
    (read_backups, [], ()),
    (
        read_status,
        {
            "cpu": 0.5,
            "mem": 455467008,
            "memfree": 577208320,
            "netin": 52240,
            "netout": 47492,
            "uptime": 1164,
            "state": "running",
        },
        VmStatus("running", 1164, 0.5, 455467008, 577208320, 52240, 47492),
    ),
    (read_status, {"state": "stopped", "uptime": 0, "mem": None}, VmStatus("stopped", 0, 0.0, 0, 0, 0, 0)),
    (read_status, {"state": "running", "uptime": 12.9, "cpu": "x"}, VmStatus("running", 12, 0.0, 0, 0, 0, 0)),
    (read_config, {"cpuCount": 1, "mem": 1024, "disk": "10G", "ipCount": 2}, VmConfig(1, 1024, "10G", 2)),
    (read_backup_status, {"status": "pending", "progress": 0}, BackupStatus("pending", 0.0)),
    (read_backup_status, {"status": "finished", "progress": 7}, BackupStatus("finished", 1.0)),
    (read_backup_status, {"status": "pending"}, BackupStatus("pending", 0.0)),
    (read_job, {"status": "queued", "progress": 0, "output": None}, Job("queued", 0.0, None)),
    (read_job, {"status": "executing", "progress": 0.33, "output": None}, Job("executing", 0.33, None)),
    (read_job, {"status": "executing", "progress": -1, "output": {"vmid": 1}}, Job("executing", 0.0, None)),
    (read_job, {"status": "queued", "progress": "half"}, Job("queued", 0.0, None)),
    (read_job, {"status": "queued", "progress": True}, Job("queued", 0.0, None)),
    (read_job, {"status": "queued", "progress": 10**400}, Job("queued", 0.0, None)),
    (
        read_job,
        {
            "status": "finished",
            "progress": 1,
            "output": {"vmid": 4001, "ips": ["37.114.1.2", "2001:db8::1"], "user": "root", "password": "p"},
        },
        Job("finished", 1.0, JobOutput(4001, ("37.114.1.2", "2001:db8::1"), Credentials("root", "p"))),
    ),
    (
        read_job,
        {"status": "failed", "progress": 0.33, "output": "0xB0: Requested resources exceed limits"},
        Job("failed", 0.33, None, "0xb0", "0xB0: Requested resources exceed limits"),
    ),
    (read_job, {"status": "failed", "output": "disk\x00 full\n"}, Job("failed", 0.0, None, "", "disk full")),
    (read_job, {"status": "failed", "output": None}, Job("failed", 0.0, None)),
    (read_job, {"status": "failed", "output": {"vmid": 1}}, Job("failed", 0.0, None)),
]


@pytest.mark.parametrize(("read", "result", "expected"), READ)
def test_documented_shapes_become_values(
    read: Callable[[object], object], result: object, expected: object
) -> None:
    ask = Ask("GET", "some/call", CallKind.REPEATABLE, read)
    assert judged(ask, answer(200, {"result": result})) == expected


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (None, JobOutput(None, (), None)),
        ("done", JobOutput(None, (), None)),
        ([4001], JobOutput(None, (), None)),
        ({}, JobOutput(None, (), None)),
        ({"vmid": "4001"}, JobOutput(4001, (), None)),
        ({"vmid": True}, JobOutput(None, (), None)),
        ({"vmid": -1}, JobOutput(None, (), None)),
        ({"vmid": 4001.0}, JobOutput(None, (), None)),
        ({"vmid": "4001x"}, JobOutput(None, (), None)),
        ({"vmid": "٤"}, JobOutput(None, (), None)),
        ({"vmid": "9" * 19}, JobOutput(None, (), None)),
        ({"vmid": 2**63}, JobOutput(None, (), None)),
        ({"ips": "192.0.2.1"}, JobOutput(None, (), None)),
        (
            {"ips": ["192.0.2.1", "192.0.2.999", "x", 3221225985, None, ""]},
            JobOutput(None, ("192.0.2.1",), None),
        ),
        ({"user": "root"}, JobOutput(None, (), None)),
        ({"password": "p"}, JobOutput(None, (), None)),
        ({"user": "root", "password": ""}, JobOutput(None, (), None)),
        ({"user": "", "password": "p"}, JobOutput(None, (), None)),
        ({"user": "root", "password": 4711}, JobOutput(None, (), None)),
        ({"user": "root", "password": "a\0b"}, JobOutput(None, (), None)),
        ({"user": "root", "password": "a\ud800b"}, JobOutput(None, (), None)),
        ({"user": "root", "password": "p" * 1025}, JobOutput(None, (), None)),
        ({"user": "root", "password": " pä$ "}, JobOutput(None, (), Credentials("root", " pä$ "))),
    ],
)
def test_finished_output_is_never_guessed(output: object, expected: JobOutput) -> None:
    job = judged(JOB, answer(200, {"result": {"status": "finished", "progress": 1, "output": output}}))
    assert job == Job("finished", 1.0, expected)


CONFIG = {"cpuCount": 1, "mem": 1024, "disk": "10G", "ipCount": 1}
ODD: dict[Callable[[object], object], list[object]] = {
    read_job_id: [
        *(
            {"jobId": odd}
            for odd in (None, True, 1.5, -1, "", "..", ".", "a/b", "ü", "a" * 65, [1], 10**70, "15\n")
        ),
        *(True, [15], "15", 15, {}),
    ],
    read_change: [{"jobId": True}],
    read_vmids: [{}, True, "4001", ["4001"], [4001, None], [True], [4001.0], [-1], [2**63]],
    read_templates: [{}, [1], [""], ["a\nb"], [None], "Debian10.0", ["x" * 256]],
    read_backups: [{}, [1.5], ["1606685300"], [None], 1606685300],
    read_password: [
        "p",
        {"password": "p"},
        {"status": "success"},
        {"status": "success", "password": ""},
        {"status": "success", "password": 1},
        {"status": "failed", "password": "p"},
        {"status": "success", "password": "a\0b"},
    ],
    read_status: [
        [],
        {"state": "running"},
        {"uptime": 1},
        {"state": "", "uptime": 1},
        {"state": 1, "uptime": 1},
        {"state": "x" * 65, "uptime": 1},
        {"state": "running", "uptime": -1},
        {"state": "running", "uptime": True},
        {"state": "running", "uptime": "1"},
        {"state": "running", "uptime": 10**400},
        {"state": "running", "uptime": 2.0**63},
    ],
    read_config: [
        CONFIG | {"cpuCount": None},
        CONFIG | {"mem": "1024"},
        CONFIG | {"disk": "10"},
        CONFIG | {"disk": 10},
        CONFIG | {"ipCount": True},
        {"cpuCores": 1, "mem": 1024, "disk": "10G", "ipCount": 1},
    ],
    read_backup_status: ["pending", {}, {"status": None}, {"status": ""}],
    read_job: [None, True, {}, {"status": 1}, {"status": ""}, {"status": "a\nb"}],
}


@pytest.mark.parametrize(("read", "result"), [(read, odd) for read in ODD for odd in ODD[read]])
@pytest.mark.parametrize("kind", list(CallKind))
def test_other_shapes_are_unclear(read: Callable[[object], object], result: object, kind: CallKind) -> None:
    error = error_of(Ask("PUT", "some/call", kind, read), answer(200, {"result": result}))
    expected = UpstreamUnavailable if kind is CallKind.REPEATABLE else UpstreamOutcomeUnknown
    assert type(error) is expected


@pytest.mark.parametrize("text", ["15", "0", "a.b", "..a", "A_-9"])
def test_job_ids_are_words(text: str) -> None:
    assert is_job_id(text)


@pytest.mark.parametrize("text", ["", ".", "..", "...", "a/b", "a b", "15\n", "%2e", "x" * 65, "١"])
def test_paths_are_no_job_ids(text: str) -> None:
    assert not is_job_id(text)


LEAKS = {
    "password in a job": answer(200, {"result": {"status": "finished", "output": {"password": PASSWORD}}}),
    "password as output": answer(200, {"result": {"status": "finished", "output": PASSWORD}}),
    "password as result": answer(200, {"result": PASSWORD}),
    "password in a list": answer(200, {"result": [PASSWORD]}),
    "password of another name": answer(200, {"result": {"status": "success", "new": PASSWORD}}),
    "password as document": answer(200, PASSWORD),
    "password in an error": answer(500, refused(f"0xa1: could not set password to {PASSWORD}")),
    "password in a failed job": answer(200, {"result": {"status": "failed", "output": f"pass {PASSWORD}"}}),
    "password in a broken job": answer(200, body=b'{"result": {"output": {"pa\\u0073sword": "hunter2'),
    "password as page": answer(502, body=b"<html>hunter2</html>"),
    "password in a page": answer(502, body=b"<html>password hunter2</html>"),
}


@pytest.mark.parametrize("ask", [JOB, RESET], ids=str)
@pytest.mark.parametrize("given", LEAKS.values(), ids=LEAKS.keys())
def test_no_password_is_described(ask: Ask[Any], given: Answer) -> None:
    assert PASSWORD not in describe(ask, given, SCRUB)
    assert PASSWORD not in repr(given)
    error = outcome(ask, given)
    if isinstance(error, UpstreamError):
        assert PASSWORD not in f"{error!r} {error} {error.public} {vars(error)} {error.__context__!r}"


@pytest.mark.parametrize("ask", ASKS, ids=str)
@pytest.mark.parametrize(
    "given",
    [
        answer(200, {"result": {"password": PASSWORD, "token": TOKEN}}),
        answer(500, {"result": False, "error": f"you sent {TOKEN}, password: {PASSWORD}"}),
        answer(502, body=f"<pre>Authorization: Bearer {TOKEN} password {PASSWORD}</pre>".encode()),
        answer(502, body=f"you sent {TOKEN}".encode("utf-16")),
        answer(200, body=b'{"result": {"password": "hunter2", "more": "' + TOKEN.encode()),
        answer(200, body=b'["hunter2", "' + TOKEN.encode()),
    ],
    ids=["JSON", "error", "page", "UTF-16", "broken JSON", "broken list"],
)
def test_no_secret_is_described(ask: Ask[Any], given: Answer) -> None:
    said = describe(ask, given, SCRUB)
    if isinstance(error := outcome(ask, given), UpstreamError):
        said = f"{said} {error!r}".replace("\0", "")
    assert TOKEN not in said
    assert TOKEN[2:] not in said
    assert PASSWORD not in said


def test_failed_job_hides_secrets() -> None:
    output = f"0xb0: {TOKEN} is refused, root password {PASSWORD}"
    job = read_job({"status": "failed", "output": output}, SCRUB)
    assert job.error_code == "0xb0"
    assert TOKEN not in job.error
    assert PASSWORD not in job.error


def test_failed_job_words_are_bounded() -> None:
    assert len(read_job({"status": "failed", "output": "0xb0: " + "x" * 10_000}).error) == 200


def test_description_shows_documented_facts() -> None:
    output = {"vmid": 4001, "ips": ["192.0.2.1"], "user": "root", "password": PASSWORD}
    described = describe(
        JOB, answer(200, {"result": {"status": "finished", "progress": 1, "output": output}})
    )
    assert json.loads(described) == {
        "result": {
            "status": "finished",
            "progress": 1,
            "output": {"vmid": 4001, "ips": ["192.0.2.1"], "user": "root"},
        }
    }


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (answer(200, {"result": [4001]}), '{"result": [4001]}'),
        (answer(302, body=b"elsewhere"), "a redirect, which is not followed"),
        (
            answer(502, body=b"<b>502\r\nBad\x1b[31m Gateway</b>"),
            "28 bytes that are no JSON: <b>502 Bad [31m Gateway</b>",
        ),
        (answer(200, body=b'{"result": '), "11 bytes that are no JSON"),
        (answer(200, body=b"  "), "2 bytes that are no JSON"),
        (Answer(trouble="connection refused", sent=False), "connection refused"),
    ],
)
def test_description_is_one_printable_line(given: Answer, expected: str) -> None:
    assert describe(LIST, given) == expected


def test_shared_answer_is_read_and_described_once() -> None:
    reads: list[object] = []

    def read(result: object) -> frozenset[int]:
        reads.append(result)
        return read_vmids(result)

    ask, shared = Ask("GET", "datacenter/server", CallKind.REPEATABLE, read), answer(200, {"result": [4001]})
    assert judged(ask, shared) is judged(ask, shared)
    assert reads == [[4001]]
    assert describe(ask, shared) is describe(ask, shared)


def test_description_hides_what_its_own_asker_has_to_hide() -> None:
    shared = answer(200, {"result": [f"{TOKEN} and {PASSWORD}"]})
    assert TOKEN in describe(LIST, shared)
    assert TOKEN not in describe(LIST, shared, SCRUB)
    assert PASSWORD not in describe(LIST, shared, scrubber([PASSWORD]))
    assert PASSWORD not in describe(JOB, shared)


def test_description_is_bounded() -> None:
    assert len(describe(LIST, answer(200, {"result": list(range(10_000))}))) == LONGEST_EXCERPT
    assert len(describe(LIST, answer(502, body=b"x" * 10_000))) == LONGEST_EXCERPT


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["0xa1: x", "15", "10G"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text()
            | st.sampled_from(
                [
                    "result",
                    "error",
                    "status",
                    "output",
                    "jobId",
                    "vmid",
                    "ips",
                    "password",
                    "progress",
                    "uptime",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)
documents = json_values | st.fixed_dictionaries({"result": json_values})


def well_typed(value: object) -> bool:
    match value:
        case None | str() | int():
            return True
        case frozenset() | tuple():
            return all(isinstance(item, int | str) for item in value)
        case Job() | BackupStatus():
            return isinstance(value.status, str) and 0.0 <= value.progress <= 1.0
        case VmStatus():
            return value.uptime >= 0 and math.isfinite(value.cpu)
        case VmConfig():
            return min(value.cpu_cores, value.mem, value.ip_count) >= 0
    return False


READERS = [
    read_done,
    read_job_id,
    read_change,
    read_password,
    read_vmids,
    read_templates,
    read_backups,
    read_status,
    read_config,
    read_backup_status,
    read_job,
]


@pytest.mark.parametrize("read", READERS)
@settings(deadline=None)
@given(
    body=st.binary() | documents.map(lambda document: json.dumps(document).encode()),
    status=st.sampled_from([200, 302, 400, 401, 429, 500]),
    kind=st.sampled_from(CallKind),
    secret=st.booleans(),
)
def test_any_body_is_value_or_upstream_error(
    read: Callable[[object], object], body: bytes, status: int, kind: CallKind, secret: bool
) -> None:
    ask = Ask("PUT", "some/call", kind, read, secret)
    given = Answer(status, body)
    assert describe(ask, given, SCRUB).isprintable()
    value = outcome(ask, given)
    assert str(value).isprintable() if isinstance(value, UpstreamError) else well_typed(value)
