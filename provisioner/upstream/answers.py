"""Answers sorted: what the reseller API said, as a value of the port or as the error that says what is next.

Nothing here does I/O. `CODES` is the one table of the documented codes; `judge` is the one way from an answer
to a value or an error (contract, section 6, promise 5; design, "The create whose answer was lost", step 2).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from ipaddress import ip_address
from typing import Any, Generic, NamedTuple, NoReturn, TypeVar

from provisioner.errors import (
    JobNotFound,
    TokenRefused,
    UpstreamOutcomeUnknown,
    UpstreamRefused,
    UpstreamUnavailable,
    VmNotFound,
)
from provisioner.line import Received, retry_after_s
from provisioner.redact import REDACTED, Scrub, redact, redact_page, unchanged
from provisioner.service import disk_megabytes
from provisioner.upstream import BackupStatus, Credentials, Job, JobOutput, VmConfig, VmStatus

T = TypeVar("T")

LONGEST_EXCERPT = 500  # characters; enough to recognise a page by, little enough for a line of a timeline
LONGEST_ERROR = 200
LONGEST_WORD = 64  # of a status or state; the documented ones have at most nine letters
LONGEST_SECRET = 1024
LARGEST_INTEGER = 2**63 - 1  # what both stores can hold

LATER = "This could not be done right now. It will be tried again."
BEING_CHECKED = "It is not certain yet whether this was done. It is being checked."


class Meaning(NamedTuple):
    """What an answer's code decides, what a customer may read of it, and what the operator is to do.

    `error` is None where the code does not say whether anything happened: that depends on the call.
    """

    error: type[UpstreamRefused] | None
    public: str
    advice: str


CODES: dict[str, Meaning] = {
    "0x01": Meaning(VmNotFound, "The server does not exist.", "gone, if the list of all VMs agrees"),
    "0x03": Meaning(TokenRefused, LATER, "check the token in [upstream]"),
    "0xa1": Meaning(None, LATER, "try again later"),
    "0xa3": Meaning(None, LATER, "try again later"),
    "0xa5": Meaning(UpstreamRefused, "The backup does not exist.", "choose one of backups/list"),
    "0xb0": Meaning(
        UpstreamRefused,
        "More resources were asked for than can be given.",
        "ask for less, or for a higher limit",
    ),
    "0xb1": Meaning(
        UpstreamRefused, "Something that is needed for this was not given.", "complete what was asked"
    ),
    "0xc1": Meaning(
        JobNotFound, "The progress of this can no longer be seen.", "the job is lost, look for its VM"
    ),
}
NO_CODE = Meaning(None, LATER, "try again later")
UNKNOWN_CODE = Meaning(UpstreamRefused, "This was refused.", "ask what the code means, it is not documented")

_CODE = re.compile(r"\s*(0x[0-9a-f]{1,8})\b", re.IGNORECASE)
_JOB_ID = re.compile(r"(?!\.+\Z)[A-Za-z0-9._-]{1,64}")  # dots alone would lead to another path
_NO_JSON = object()
_OUTLINED = frozenset({"result", "error", "status", "progress", "output", "vmid", "ips", "user", "jobId"})


class CallKind(Enum):
    """What a lost answer to a call means, and so over which connection the call goes."""

    REPEATABLE = "repeatable"  # reads, and what does no harm when it is sent twice
    ONCE = "once"  # to be looked for before it is sent again
    CREATE = "create"  # as ONCE; and a refused token proves that nothing was made


@dataclass(frozen=True, slots=True)
class Ask(Generic[T]):
    """One call: `path` below the base, `read` for its result, `secret` if a password may be in the answer."""

    method: str
    path: str
    kind: CallKind
    read: Callable[[object], T]
    secret: bool = False

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def once(self) -> bool:
        return self.kind is not CallKind.REPEATABLE


class Answer(Received):
    """What came back from the upstream. Many may share it, so what is made of it is made once."""

    @cached_property
    def document(self) -> object:
        """The parsed body, or a mark of its own where it is no JSON; NaN and infinities are none."""
        try:
            return json.loads(self.body, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            return _NO_JSON

    @property
    def result(self) -> object:
        return self.document.get("result") if isinstance(self.document, dict) else None

    @property
    def error(self) -> object:
        return self.document.get("error") if isinstance(self.document, dict) else None

    @cached_property
    def _kept(self) -> dict[object, Any]:
        return {}

    def made(self, what: object, make: Callable[[], T]) -> T:
        """What is made of it, under a name that says all that it depends on."""
        if what not in self._kept:
            self._kept[what] = make()
        made: T = self._kept[what]
        return made


def judge(ask: Ask[T], answer: Answer, *, now_s: float, scrub: Scrub = unchanged) -> T:
    """The value that the answer gives, judged by the code in its body first, then by its HTTP status.

    :param now_s: Unix time in seconds, for a Retry-After that is a date.
    :param scrub: takes out what no message may hold.
    :raises UpstreamUnavailable: nothing was sent, 429, or an unclear answer to what may be repeated.
    :raises UpstreamOutcomeUnknown: an unclear answer to what may not be repeated.
    :raises UpstreamRefused: it said no; TokenRefused, VmNotFound and JobNotFound where that is what it said.

    reseller-api.txt, "Responses"; contract, section 6, promise 5.
    """
    wait_s = retry_after_s(answer.retry_after, now_s)
    if not answer.sent:
        raise UpstreamUnavailable(LATER, detail=f"{ask}: {answer.trouble}; nothing was sent")
    if answer.status == 429:
        raise UpstreamUnavailable(
            LATER, detail=f"{ask}: 429, too many calls; slow down", retry_after_s=wait_s
        )
    code = error_code(answer.error)
    meaning = CODES.get(code, UNKNOWN_CODE) if code else NO_CODE
    if answer.status in (401, 403) and meaning.error is None and (not code or ask.kind is CallKind.CREATE):
        meaning, code = CODES["0x03"], "0x03"
    # A refusal beside a new job's id contradicts itself, and believing it could make a second VM.
    if meaning.error and not (ask.once and _names_job(answer.result)):
        said = _said(ask, answer, scrub)
        raise meaning.error(meaning.public, detail=f"{said}; {meaning.advice}", code=code)
    oddness = ""
    if 200 <= answer.status < 300 and not answer.error and not answer.trouble:
        try:
            return answer.made(ask.read, lambda: ask.read(answer.result))
        except _Odd as odd:
            oddness = f": {odd}"
    raise _unclear(ask, f"{_said(ask, answer, scrub)}{oddness}", code, wait_s)


def _said(ask: Ask[Any], answer: Answer, scrub: Scrub) -> str:
    status = f"{answer.status}, " if answer.status else ""
    return f"{ask}: {status}{describe(ask, answer, scrub)}"


def describe(ask: Ask[Any], answer: Answer, scrub: Scrub = unchanged) -> str:
    """One line about the answer for the operator: redacted, printable and at most `LONGEST_EXCERPT` long.

    :param scrub: takes out values wherever they occur.
    """
    return answer.made(("line", ask.secret, scrub), lambda: _described(ask, answer, scrub))


def _described(ask: Ask[Any], answer: Answer, scrub: Scrub) -> str:
    if answer.trouble:
        return answer.trouble
    if 300 <= answer.status < 400:
        return "a redirect, which is not followed"
    if answer.document is not _NO_JSON:
        seen = redact(_beginning(answer.document), scrub)
        return _line(json.dumps(_outline(seen) if ask.secret else seen, ensure_ascii=False))
    size = f"{len(answer.body)} bytes that are no JSON"
    page = answer.body.decode("utf-8", "replace")
    # JSON that broke off can hold a password without the name that gives it away.
    if ask.secret or page.lstrip()[:1] in ("", "{", "[", '"'):
        return size
    return _line(f"{size}: {redact_page(page, scrub)}")


def error_code(text: object) -> str:
    """The code that an error text begins with (`0xB1: words`), in lower case; empty where there is none."""
    match = _CODE.match(text) if isinstance(text, str) else None
    return match[1].lower() if match else ""


def is_job_id(text: str) -> bool:
    """Whether this can be a job's id: 1 to 64 of ASCII letters, digits and `._-`, not dots alone."""
    return _JOB_ID.fullmatch(text) is not None


def read_done(result: object) -> None:
    """`true`, `"pending"` or whatever else is neither false nor nothing."""
    if result is None or result is False:
        raise _Odd("not confirmed")


def read_job_id(result: object) -> str:
    """The `jobId` of a new job."""
    value = _fields(result).get("jobId")
    text = value if isinstance(value, str) else str(_whole(value, "a job id"))
    if not is_job_id(text):
        raise _Odd("a job id that is none")
    return text


def read_change(result: object) -> str | None:
    """A change's answer is not documented: the job's id where it has one."""
    read_done(result)
    return read_job_id(result) if _names_job(result) else None


def read_password(result: object) -> str:
    """`{"status": "success", "password": …}`"""
    fields = _fields(result)
    password = _secret(fields.get("password"))
    if fields.get("status") != "success" or password is None:
        raise _Odd("no success with a password")
    return password


def read_vmids(result: object) -> frozenset[int]:
    """The list of all assigned VMs; one odd entry spoils it, since a VM left out would look gone."""
    items: list[Any] = _items(result)
    # Many thousand perhaps: all at once, for one by one takes longer than the call.
    are_whole = set(map(type, items)) <= {int}
    if not are_whole or not 0 <= min(items, default=0) <= max(items, default=0) <= LARGEST_INTEGER:
        raise _Odd("a vmid that is no whole number")
    return frozenset(items)


def read_templates(result: object) -> tuple[str, ...]:
    """The list of available templates."""
    return tuple(_word(item, "a template", longest=255) for item in _items(result))


def read_backups(result: object) -> tuple[int, ...]:
    """The list of backups, in Unix seconds."""
    return tuple(_whole(item, "a backup") for item in _items(result))


def read_status(result: object) -> VmStatus:
    """A VM's state and uptime, which decide; measurements that a VM which is off may lack are 0 then."""
    fields = _fields(result)
    uptime = _number(fields.get("uptime"))
    if uptime is None or uptime < 0:
        raise _Odd("no uptime")
    return VmStatus(
        state=_word(fields.get("state"), "a state"),
        uptime=int(uptime),
        cpu=float(_number(fields.get("cpu")) or 0),
        **{name: int(_number(fields.get(name)) or 0) for name in ("mem", "memfree", "netin", "netout")},
    )


def read_config(result: object) -> VmConfig:
    """A VM's config; `cpuCount` here is what a change calls `cpuCores`."""
    fields = _fields(result)
    return VmConfig(
        cpu_cores=_whole(fields.get("cpuCount"), "a cpuCount"),
        mem=_whole(fields.get("mem"), "a mem"),
        disk=_disk(fields.get("disk")),
        ip_count=_whole(fields.get("ipCount"), "an ipCount"),
    )


def read_backup_status(result: object) -> BackupStatus:
    """The status of a backup's or a restore's task."""
    fields = _fields(result)
    return BackupStatus(_word(fields.get("status"), "a status"), _progress(fields.get("progress")))


def read_job(result: object, scrub: Scrub = unchanged) -> Job:
    """A look at a job: a finished one's output field by field, a failed one's code and words.

    :param scrub: takes out what a failed job's words must not hold.
    """
    fields = _fields(result)
    status = _word(fields.get("status"), "a status")
    progress, output = _progress(fields.get("progress")), fields.get("output")
    if status == "finished":
        return Job(status, progress, _job_output(output))
    if status == "failed":
        words = _line(redact_page(output, scrub), LONGEST_ERROR) if isinstance(output, str) else ""
        return Job(status, progress, None, error_code(output), words)
    return Job(status, progress, None)


class _Odd(ValueError):
    """A result of another shape than the documented one; the message holds none of its values."""


def _unclear(
    ask: Ask[Any], said: str, code: str, wait_s: float | None
) -> UpstreamUnavailable | UpstreamOutcomeUnknown:
    if ask.once:
        return UpstreamOutcomeUnknown(
            BEING_CHECKED, detail=f"{said}; it may have been done, look before sending it again", code=code
        )
    return UpstreamUnavailable(LATER, detail=f"{said}; {NO_CODE.advice}", code=code, retry_after_s=wait_s)


def _outline(value: object, name: str = "result") -> object:
    """Of an answer that may hold a password where nobody expects it: documented fields and error texts."""
    if isinstance(value, dict):
        return {key: _outline(item, key) for key, item in value.items() if key in _OUTLINED}
    if name in ("result", "output") and value is not None and value is not False and not error_code(value):
        return REDACTED
    return redact_page(value) if isinstance(value, str) else value


def _beginning(document: object) -> object:
    """Of a long list as much as a line has room for: an account may have many thousand VMs."""
    if isinstance(document, dict) and isinstance(document.get("result"), list):
        return {**document, "result": document["result"][:LONGEST_EXCERPT]}
    return document


def _line(text: str, longest: int = LONGEST_EXCERPT) -> str:
    """Redacted text on one line, without control characters or half ones, cut to a number of characters."""
    text = text[: 2 * longest]
    if not text.isprintable():
        text = "".join(char if char.isprintable() else " " for char in text)
    text = " ".join(text.split())
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _fields(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _Odd("no object")
    return value


def _items(value: object) -> list[object]:
    if not isinstance(value, list):
        raise _Odd("no list")
    return value


def _names_job(result: object) -> bool:
    return isinstance(result, dict) and result.get("jobId") is not None


def _integer(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value <= LARGEST_INTEGER else None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if abs(value) <= LARGEST_INTEGER else None  # NaN is not below anything


def _whole(value: object, what: str) -> int:
    number = _integer(value)
    if number is None:
        raise _Odd(f"{what} that is no whole number")
    return number


def _word(value: object, what: str, longest: int = LONGEST_WORD) -> str:
    if not isinstance(value, str) or not value.isprintable() or not 0 < len(value) <= longest:
        raise _Odd(f"{what} that is no word")
    return value


def _disk(value: object) -> str:
    disk = _word(value, "a disk")
    try:
        disk_megabytes(disk)
    except ValueError:
        raise _Odd("a disk that is no size") from None
    return disk


def _progress(value: object) -> float:
    return float(min(max(_number(value) or 0, 0), 1))


def _secret(value: object) -> str | None:
    """A user or password that can be kept and typed: printable, so no NUL and no half character."""
    if isinstance(value, str) and value.isprintable() and 0 < len(value) <= LONGEST_SECRET:
        return value
    return None


def _job_output(output: object) -> JobOutput:
    fields = output if isinstance(output, dict) else {}
    user, password = _secret(fields.get("user")), _secret(fields.get("password"))
    ips = fields.get("ips")
    return JobOutput(
        vmid=_vmid(fields.get("vmid")),
        ips=tuple(ip for ip in ips if _is_address(ip)) if isinstance(ips, list) else (),
        credentials=Credentials(user, password) if user and password else None,
    )


def _vmid(value: object) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 18:
        return int(value)
    return _integer(value)


def _is_address(value: object) -> bool:
    if not isinstance(value, str):
        return False
    try:
        ip_address(value)
    except ValueError:
        return False
    return True
