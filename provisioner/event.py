"""Events and queries as they come in: first whether they are any (`parse`), then whether they can be carried
out as far as the message alone says (`judge`). Contract, section 3; plans, templates and stored facts are
judged by others.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, NoReturn, TypeVar

from pydantic import ValidationError

from provisioner.errors import EventMalformed, EventRejected, RequestInvalid
from provisioner.event_models import (
    MODELS,
    QUERIES,
    Fields,
    SourceFields,
    Subject,
    path_of,
    problems,
)
from provisioner.operation import Kind

MOST_LEVELS = 32
_MOST_DIGITS = 255  # the longest service_id: an integer beyond it is out of every range
_TOO_LARGE: int = 10**_MOST_DIGITS

TYPES: Mapping[str, Kind] = {
    "order.paid": Kind.CREATE,
    "service.link": Kind.LINK,
    "service.upgrade": Kind.CHANGE,
    "service.suspend": Kind.SUSPEND,
    "service.unsuspend": Kind.UNSUSPEND,
    "service.terminate": Kind.TERMINATE,
    "service.start": Kind.START,
    "service.shutdown": Kind.SHUTDOWN,
    "service.stop": Kind.STOP,
    "service.reboot": Kind.REBOOT,
    "service.force_reboot": Kind.FORCE_REBOOT,
    "service.reinstall": Kind.REINSTALL,
    "service.reset_password": Kind.RESET_PASSWORD,
    "service.set_rdns": Kind.SET_RDNS,
    "service.backup": Kind.BACKUP,
    "service.restore": Kind.RESTORE,
}

_Model = TypeVar("_Model", bound=Fields)
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")  # PostgreSQL's text takes no NUL, UTF-8 no lone surrogate
_ESCAPED = re.compile(rb"\\u(?:0000|[Dd][89A-Fa-f])")  # how a body has one: neither stands there bare


@dataclass(frozen=True, slots=True)
class Envelope:
    """A message that is one, its fields not yet judged.

    `digest` is the same for the same type and data, whatever the order of keys and the white space; an
    accepted id that comes again with another one is `id_reused`. `source` is raw, `body` the whole message,
    `unstorable` where in it a text stands that no database keeps, '' where none does.
    """

    type: str
    data: dict[str, Any]
    source: object
    digest: str
    body: dict[str, Any]
    unstorable: str


@dataclass(frozen=True, slots=True)
class Source:
    """Who says that it sent a message; an actor that was not named has empty strings."""

    installation: str | None
    actor_type: str
    actor_name: str


@dataclass(frozen=True, slots=True)
class Event:
    """An event that can be carried out as far as it alone says; `data` is of `MODELS[kind]`."""

    type: str
    kind: Kind
    service_id: str
    data: Fields


@dataclass(frozen=True, slots=True)
class Query:
    """A query with fields in range; `data` is of `QUERIES[type]`."""

    type: str
    data: Fields


def parse(raw: bytes) -> Envelope:
    """Reads an event or a query (contract, section 3: the row of status 400).

    Of a key that comes twice the last one counts, as in PHP and JavaScript, where the messages are written.
    A number that no field could have is kept as one that no field could have: an integer of more than 255
    digits as one of 256, a fraction beyond a double's range as the greatest double.

    :param raw: the body as it came, at most as long as the caller allows.
    :raises EventMalformed: if it is no JSON object in UTF-8 of at most 32 levels (itself the first) with a
        string `type` and an object `data`.
    """
    body = _object(raw)
    if _has_more_levels(body, MOST_LEVELS):
        raise EventMalformed(f"the body has more than {MOST_LEVELS} levels")
    type_, data = body.get("type"), body.get("data")
    if not isinstance(type_, str):
        raise EventMalformed("type must be a string")
    if not isinstance(data, dict):
        raise EventMalformed("data must be an object")
    digest = sha256(_canonical([type_, data]).encode()).hexdigest()
    unstorable = _unstorable(body) if _ESCAPED.search(raw) else ""
    return Envelope(type_, data, body.get("source"), digest, body, unstorable)


def source_of(envelope: Envelope) -> Source:
    """Who says that it sent this message (contract, section 3: `source`).

    :raises EventRejected: `invalid_field`, if a source is there but not of the documented shape.
    """
    fields = _fields(SourceFields, {} if envelope.source is None else envelope.source, "source")
    return Source(fields.installation, fields.actor.type or "", fields.actor.name)


def judge(envelope: Envelope) -> Event:
    """The event, if it can be carried out as far as it alone says (contract, section 3: the row of 422).

    :raises EventRejected: `unknown_type`, or `invalid_field` with each field's path, what is wrong with it
        and what would be right.
    """
    _refuse_unstorable(envelope.unstorable)
    kind = TYPES.get(envelope.type)
    if kind is None:
        raise _unknown_type(TYPES)
    service_id = _fields(Subject, envelope.data, "data").service_id
    return Event(envelope.type, kind, service_id, _fields(MODELS[kind], envelope.data, "data"))


def kept(envelope: Envelope) -> str:
    """The message as it is stored: what an event can say, and nothing that came along with it.

    A client's name or address is no field of any event; nothing here needs it, so nothing here has it. It is
    judged anew just as it was the first time.
    """
    body = {
        "type": envelope.type,
        "timestamp": envelope.body.get("timestamp"),
        "data": {name: _bare(name, value) for name, value in envelope.data.items() if name in _KNOWN},
        "source": _only(envelope.source, _SOURCE),
    }
    return json.dumps({name: value for name, value in body.items() if value is not None})


def judge_query(envelope: Envelope) -> Query:
    """The query, if it can be answered as far as it alone says (contract, section 3: `/queries`).

    :raises EventRejected: as `judge` does.
    """
    _refuse_unstorable(envelope.unstorable)
    model = QUERIES.get(envelope.type)
    if model is None:
        raise _unknown_type(QUERIES)
    return Query(envelope.type, _fields(model, envelope.data, "data"))


def judge_action(kind: Kind, data: dict[str, Any]) -> Fields:
    """An admin's action, whose fields are those of the event of its kind (contract, section 5: actions).

    :param data: the call's body; `action` and anything else that is no field of the kind is ignored.
    :raises RequestInvalid: if a field is missing or out of range.
    """
    try:
        _refuse_unstorable(_unstorable(data))
        return MODELS[kind].model_validate(data)
    except EventRejected as rejected:
        raise RequestInvalid(rejected.public) from None
    except ValidationError as error:
        raise RequestInvalid(problems(error)) from None


_MODELS: tuple[type[Fields], ...] = (Subject, *MODELS.values())
_KNOWN = {
    str(field.validation_alias or name) for model in _MODELS for name, field in model.model_fields.items()
}
_CLIENT = {"id": None}
_SOURCE = {"installation": None, "actor": {"type": None, "name": None}}


def _bare(name: str, value: Any) -> Any:
    return _only(value, _CLIENT) if name == "client" else value


def _only(value: Any, fields: Mapping[str, Any] | None) -> Any:
    """What is there of these fields; what should be an object and is none is emptied, and refused again."""
    if fields is None or value is None:
        return value
    if not isinstance(value, dict):
        return type(value)()
    return {name: _only(value[name], inner) for name, inner in fields.items() if name in value}


def _object(raw: bytes) -> dict[str, Any]:
    try:
        body = _DECODER.decode(raw.decode())
    except RecursionError:
        raise EventMalformed(f"the body has more than {MOST_LEVELS} levels") from None
    except ValueError:
        raise EventMalformed("the body is not JSON in UTF-8") from None
    if not isinstance(body, dict):
        raise EventMalformed("the body is not an object")
    return body


def _integer(digits: str) -> int:
    """Python refuses to convert thousands of digits, for their cost, with an error of its own."""
    if len(digits.lstrip("-")) <= _MOST_DIGITS:
        return int(digits)
    return -_TOO_LARGE if digits.startswith("-") else _TOO_LARGE


def _fraction(digits: str) -> float:
    """1e400 is JSON, the infinity that Python makes of it is not and could not be written again."""
    return max(-sys.float_info.max, min(sys.float_info.max, float(digits)))


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_int=_integer, parse_float=_fraction, parse_constant=_no_number)
_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode
_NESTING = (dict, list)


def _has_more_levels(body: dict[str, Any], most: int) -> bool:
    """Whether anything is nested deeper, the body being the first level."""
    level: list[Any] = [body]
    for _ in range(most):
        insides = [outer.values() if isinstance(outer, dict) else outer for outer in level]
        level = [inner for inside in insides for inner in inside if isinstance(inner, _NESTING)]
        if not level:
            return False
    return True


def _walk(body: object) -> Iterator[tuple[tuple[str | int, ...], object]]:
    """Every value in the body with the keys and indices that lead to it."""
    ahead: list[tuple[tuple[str | int, ...], object]] = [((), body)]
    while ahead:
        path, value = ahead.pop()
        yield path, value
        if isinstance(value, dict):
            ahead.extend(((*path, key), inner) for key, inner in value.items())
        elif isinstance(value, list):
            ahead.extend(((*path, index), inner) for index, inner in enumerate(value))


def _unstorable(body: dict[str, Any]) -> str:
    """Where a text stands that no database keeps, as a name or a value; '' where none does."""
    for path, value in _walk(body):
        for text in (value, *path[-1:]):
            if isinstance(text, str) and _UNSTORABLE.search(text):
                return path_of(path)
    return ""


def _refuse_unstorable(path: str) -> None:
    if path:
        raise _invalid(f"{path} must have no NUL and no lone surrogate in its name or value")


def _fields(model: type[_Model], fields: object, root: str) -> _Model:
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        raise _invalid(problems(error, root)) from None


def _invalid(message: str) -> EventRejected:
    return EventRejected(message, code="invalid_field")


def _unknown_type(types: Mapping[str, object]) -> EventRejected:
    return EventRejected(f"type must be one of {', '.join(types)}", code="unknown_type")
