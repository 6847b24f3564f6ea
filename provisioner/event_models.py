"""What each type of event and query carries beyond its service (contract, section 3, the table).

The models are strict: a string or 1024.0 is no integer, and only true and false are booleans. A field that
may be left out may also be null, which means the same: senders in PHP write what they have not got as null.
An empty string is a value, and refused where none is in range. Unknown fields are ignored, unknown options
refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

from provisioner.event_fields import (
    MOST_INTEGER,
    ActorName,
    ActorType,
    ClientId,
    Cores,
    Cursor,
    DeliveryId,
    Disk,
    Flag,
    Hostname,
    Installation,
    Ip,
    IpCount,
    LinkStatus,
    Memory,
    Name,
    Reason,
    ServiceId,
    UnixTime,
    Version,
    Vmid,
)
from provisioner.operation import Kind

_WORD = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def _nullable(schema: dict[str, Any]) -> None:
    """Tells the OpenAPI document that what may be left out may be null."""
    null = {"type": "null"}
    for name, field in schema.get("properties", {}).items():
        if name not in schema.get("required", ()) and null not in field.get("anyOf", ()):
            schema["properties"][name] = {"anyOf": [field, null]}


class Fields(BaseModel):
    """What all models share: strict, frozen, null is absent."""

    model_config = ConfigDict(strict=True, frozen=True, json_schema_extra=_nullable)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, fields: object) -> object:
        if not isinstance(fields, dict) or None not in fields.values():
            return fields
        # An unknown option is refused even if it is null.
        return {
            key: value for key, value in fields.items() if value is not None or key not in cls.model_fields
        }


class Subject(Fields):
    """The service that an event or query is about; in a query, all there is to `service.show`."""

    service_id: ServiceId


class Options(Fields):
    """What may differ from the plan."""

    model_config = ConfigDict(extra="forbid")

    cpu_cores: Cores | None = None
    mem: Memory | None = None
    disk: Disk | None = None
    ip_count: IpCount | None = None

    def given(self) -> dict[str, int | str]:
        """Those that were asked for, as `Spec.with_options` takes them."""
        return self.model_dump(exclude_none=True)


class Client(Fields):
    """The billing system's client who owns the service."""

    id: ClientId


class Bare(Fields):
    """Nothing beyond the service: unsuspend, the power actions, reset_password, backup."""


class Create(Fields):
    """A paid order."""

    plan: Name
    template: Name | None = Field(default=None, description="what to install; the plan's where none is given")
    options: Options = Options()
    hostname: Hostname | None = Field(default=None, description="for the reverse DNS of the first IP")
    client: Client | None = None
    recreate: Flag = Field(default=False, description="order anew after a termination")


class Link(Fields):
    """A VM that exists already becomes the service's."""

    vmid: Vmid
    plan: Name
    options: Options = Options()
    ips: Annotated[tuple[Ip, ...], Field(max_length=256, strict=False, fail_fast=True)] = ()
    hostname: Hostname | None = None
    status: LinkStatus = "active"


class Change(Fields):
    """Another plan, other options or both; options without a value in them are none."""

    plan: Name | None = None
    options: Options = Options()
    template_ignored: Annotated[
        bool, BeforeValidator(lambda template: template is not None, json_schema_input_type=Any)
    ] = Field(default=False, validation_alias="template", description="ignored, with a warning")

    @model_validator(mode="after")
    def _asks_for_something(self) -> Change:
        if self.plan is None and not self.options.given():
            raise PydanticCustomError("nothing_asked", "needs a plan, or options with a value, or both")
        return self


class Suspend(Fields):
    """Switches the VM off until it is unsuspended."""

    reason: Reason = ""
    force: Flag = Field(default=False, description="stop at once, without a graceful shutdown before")
    lock: Flag = Field(default=False, description="only an admin may lift the suspension")


class Terminate(Fields):
    """Stops the VM, and deletes it when the grace is over."""

    immediate: Flag = Field(default=False, description="delete without the grace; nothing can be undone")


class Reinstall(Fields):
    """Installs the VM anew; its data are lost."""

    template: Name | None = Field(default=None, description="the present one where none is given")


class SetRdns(Fields):
    """Sets the reverse DNS of one of the service's IPs."""

    ip: Ip
    hostname: Hostname


class Restore(Fields):
    """Puts a backup back in place of what the VM has now."""

    backup: UnixTime


class Ping(Fields):
    """Whether a drop-in and this service understand each other."""

    drop_in_version: Version | None = None


class ServicesList(Fields):
    """One page of the billing system's services."""

    cursor: Cursor | None = None


class DeliveriesPull(Fields):
    """What waits for a billing system that fetches; `ack` names what it has written."""

    ack: Annotated[tuple[DeliveryId, ...], Field(max_length=1000, strict=False, fail_fast=True)] = ()


class Actor(Fields):
    """Who did it over there, for the audit."""

    type: ActorType | None = None
    name: ActorName = ""


class SourceFields(Fields):
    """Which installation of the billing system sent a message, and on whose behalf."""

    installation: Installation | None = None
    actor: Actor = Actor()


MODELS: Mapping[Kind, type[Fields]] = {
    **dict.fromkeys(Kind, Bare),
    Kind.CREATE: Create,
    Kind.LINK: Link,
    Kind.CHANGE: Change,
    Kind.SUSPEND: Suspend,
    Kind.TERMINATE: Terminate,
    Kind.REINSTALL: Reinstall,
    Kind.SET_RDNS: SetRdns,
    Kind.RESTORE: Restore,
}

QUERIES: Mapping[str, type[Fields]] = {
    "ping": Ping,
    "plans.list": Bare,
    "templates.list": Bare,
    "service.show": Subject,
    "panel.link": Subject,
    "services.list": ServicesList,
    "deliveries.pull": DeliveriesPull,
}

_SENTENCES = {
    "missing": "{path} is missing",
    "extra_forbidden": f"{{path}} is no option; there are {', '.join(Options.model_fields)}",
    "model_type": "{path} must be an object, not {given}",
    "tuple_type": "{path} must be a list, not {given}",
    "too_long": "{path} must have at most {most} items",
    "nothing_asked": "{path} {msg}",
    "unwanted": "{path} must be {msg}, not {given}",
}
_MOST_PROBLEMS = 5  # said at once: enough to mend a sender, few enough for a log line


def problems(error: ValidationError, *root: str, told: Callable[[object], str] | None = None) -> str:
    """What is wrong with which field and what would be right, safe to show to a customer.

    :param error: what a model of this module raised.
    :param root: the names that lead to the validated object, none for a whole body.
    :param told: says what a wrong value is; by default of a string only its length.
    """
    found = error.errors(include_url=False)[:_MOST_PROBLEMS]
    return "; ".join(
        _SENTENCES[one["type"]].format(
            path=path_of((*root, *one["loc"])),
            given=(told or _told)(one["input"]),
            msg=one["msg"],
            most=one.get("ctx", {}).get("max_length"),
        )
        for one in found
    )


def path_of(steps: Iterable[str | int]) -> str:
    """The place of a field in its message, such as `data.ips[1]`; other than a short word shows as `…`."""
    path = "".join(
        f"[{step}]" if isinstance(step, int) else f".{step if _WORD.fullmatch(step) else '…'}"
        for step in steps
    )
    return path.removeprefix(".") or "the body"


def _told(value: object) -> str:
    """A wrong value in few words. Of a string only its length: it may be huge, or a misplaced secret."""
    match value:
        case str():
            return f"a string of length {len(value)}"
        case list():
            return "a list"
        case dict():
            return "an object"
        case int() if abs(value) > MOST_INTEGER:
            return "so large a number"
        case _:
            return json.dumps(value)
