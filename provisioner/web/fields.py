"""The types of query parameters and body fields; each type's words are its description and its refusal."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    WithJsonSchema,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from provisioner.engine.approve import CHOICES
from provisioner.engine.import_file import COLUMNS, MOST_CHARACTERS
from provisioner.event_fields import MOST_INTEGER, Wanted

MOST_ITEMS = 500
ITEMS = 100
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")  # PostgreSQL's text takes no NUL, UTF-8 no lone surrogate


@dataclass(frozen=True, slots=True)
class OneOf:
    """Marks a text as one of some words."""

    words: tuple[str, ...]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.custom_error_schema(
            core_schema.literal_schema(list(self.words)),
            custom_error_type="unwanted",
            custom_error_message=f"one of {', '.join(self.words)}",
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"type": "string", "enum": list(self.words)}


def is_storable(text: str) -> bool:
    """Whether every database keeps this text as it is."""
    return _UNSTORABLE.search(text) is None


def _storable(text: str) -> str:
    if not is_storable(text):
        raise ValueError("NUL or a lone surrogate")
    return text


def _number(text: object) -> object:
    """The number that a query parameter writes in digits; anything else is left to be refused."""
    is_number = isinstance(text, str) and re.fullmatch("[0-9]{1,19}", text)
    return int(str(text)) if is_number else text


def _moment(text: object) -> object:
    """Milliseconds since the epoch; what has no zone is UTC."""
    try:
        at = datetime.fromisoformat(str(text))
    except ValueError:
        return text
    return round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)


def _address(text: str) -> str:
    return str(ip_address(text))


# None may be empty: to whoever fills it in from a variable that is unset, it would mean all.
Filter = Annotated[
    str,
    Field(min_length=1, max_length=255),
    AfterValidator(_storable),
    Wanted("a text of 1 to 255 characters without NUL and lone surrogates"),
]
VmidFilter = Annotated[
    int | None,
    Field(ge=1, le=MOST_INTEGER),
    BeforeValidator(_number),
    Wanted("a positive integer"),
]
ActorFilter = Annotated[
    str,
    Field(min_length=1, max_length=512),
    AfterValidator(_storable),
    Wanted("a text of 1 to 512 characters without NUL and lone surrogates"),
]
TimeFilter = Annotated[
    int | None,
    BeforeValidator(_moment),
    WithJsonSchema({"type": "string", "format": "date-time"}),
    Wanted("a time such as 2026-11-23T12:00:00Z, or a day such as 2026-11-23, in UTC"),
]
IpFilter = Annotated[
    str,
    AfterValidator(_address),
    WithJsonSchema({"type": "string", "anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]}),
    Wanted("an IPv4 or IPv6 address"),
]
Limit = Annotated[
    int,
    Field(ge=1, le=MOST_ITEMS),
    BeforeValidator(_number),
    Wanted(f"an integer from 1 to {MOST_ITEMS}"),
]
Cursor = Annotated[str, Field(max_length=255), Wanted("a cursor as the last answer gave it")]
Words = Annotated[
    str,
    Field(max_length=1000),
    AfterValidator(_storable),
    Wanted("a text of at most 1000 characters without NUL and lone surrogates"),
]
Choice = Annotated[str, OneOf(CHOICES)]
File = Annotated[
    str,
    AfterValidator(_storable),
    Wanted(f"a CSV of at most {MOST_CHARACTERS} characters, its first line the columns {', '.join(COLUMNS)}"),
]
