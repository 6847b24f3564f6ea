"""The types of fields that events and queries have: which values are in range (contract, section 3).

Each type's words are both its description in the OpenAPI document and its refusal.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Annotated, Any, Literal

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

from provisioner.service import DISK

MOST_INTEGER = 2**63 - 1  # what the store's integers hold
_LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOTTED_DECIMAL = re.compile(r"[0-9]+(?:\.[0-9]+){3}")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Marks a type with what is right for it, in words that follow "must be"."""

    words: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.custom_error_schema(
            handler(source), custom_error_type="unwanted", custom_error_message=self.words
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {**handler(schema), "description": self.words}


def _number_as_text(value: object) -> object:
    return str(value) if type(value) is int and value >= 0 else value


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("not printable")
    return text


def _path_segment(text: str) -> str:
    if "/" in text or text in {".", ".."}:
        raise ValueError("not one segment of a path")
    return text


def _name_not_address(hostname: str) -> str:
    if _DOTTED_DECIMAL.fullmatch(hostname):
        raise ValueError("dotted decimal")
    return hostname


def _address(text: str) -> str:
    if "%" in text:
        raise ValueError("a zone means nothing on another machine")
    return str(ip_address(text))


# Spaces and letters beyond ASCII are printable. An id is the sender's own: nothing of it is stripped, folded
# or normalised, so two ids are the same service only if they are the same characters.
ServiceId = Annotated[
    str,
    Field(min_length=1, max_length=255),
    BeforeValidator(
        _number_as_text,
        json_schema_input_type=Annotated[str, Field(min_length=1, max_length=255, pattern="^[^/]+$")]
        | Annotated[int, Field(ge=0)],
    ),
    AfterValidator(_printable),
    AfterValidator(_path_segment),
    Wanted("1 to 255 printable characters without /, not . or .., or an integer from 0"),
]
ClientId = Annotated[
    str,
    Field(min_length=1, max_length=255),
    BeforeValidator(
        _number_as_text,
        json_schema_input_type=Annotated[str, Field(min_length=1, max_length=255)]
        | Annotated[int, Field(ge=0)],
    ),
    AfterValidator(_printable),
    Wanted("1 to 255 printable characters, or an integer from 0"),
]
Name = Annotated[str, Field(min_length=1, max_length=255), Wanted("a name of 1 to 255 characters")]
Cores = Annotated[int, Field(ge=1, le=1024), Wanted("an integer from 1 to 1024")]
Memory = Annotated[int, Field(ge=64, le=4194304), Wanted("an integer from 64 to 4194304, in MB")]
Disk = Annotated[
    str,
    Field(pattern=f"^{DISK.pattern}$"),
    Wanted("a whole number from 1 to 99999 with M, G or T, such as 10G"),
]
IpCount = Annotated[int, Field(ge=1, le=256), Wanted("an integer from 1 to 256")]
# Kept in the sender's case, which DNS does not tell apart. RFC 1123, 2.1: never of the form #.#.#.#.
Hostname = Annotated[
    str,
    Field(max_length=253, pattern=rf"^{_LABEL}(?:\.{_LABEL})*$"),
    AfterValidator(_name_not_address),
    Wanted("a host name after RFC 1123 of at most 253 characters, without a dot at its end"),
]
Ip = Annotated[
    str,
    Field(max_length=45),
    AfterValidator(_address),
    WithJsonSchema({"type": "string", "anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]}),
    Wanted("an IPv4 or IPv6 address"),
]
Vmid = Annotated[int, Field(ge=1, le=MOST_INTEGER), Wanted("a positive integer")]
UnixTime = Annotated[int, Field(ge=0, le=MOST_INTEGER), Wanted("a Unix time in whole seconds")]
Flag = Annotated[bool, Wanted("true or false")]
Reason = Annotated[str, Field(max_length=1000), Wanted("a text of at most 1000 characters")]
LinkStatus = Annotated[Literal["active", "suspended"], Wanted("active or suspended")]
Cursor = Annotated[str, Field(min_length=1, max_length=1024), Wanted("a cursor as the last answer gave it")]
DeliveryId = Annotated[str, Field(min_length=1, max_length=255), Wanted("a delivery's id")]
Version = Annotated[str, Field(max_length=64), Wanted("a version of at most 64 characters")]
Installation = Annotated[
    str,
    Field(min_length=1, max_length=512),
    AfterValidator(_printable),
    Wanted("1 to 512 printable characters"),
]
ActorType = Annotated[
    str,
    Field(pattern="^[A-Za-z][A-Za-z0-9_-]{0,31}$"),
    Wanted("a word of 1 to 32 letters, digits, _ and -, such as cron"),
]
ActorName = Annotated[
    str, Field(max_length=255), AfterValidator(_printable), Wanted("at most 255 printable characters")
]
