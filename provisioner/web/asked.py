"""What the admin API's calls ask for: query parameters and bodies (contract, section 5)."""

from __future__ import annotations

from functools import cache
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, create_model

from provisioner.event_fields import Flag, Installation, ServiceId, Vmid
from provisioner.event_models import MODELS, Fields
from provisioner.operation import Kind, State
from provisioner.service import ServiceStatus
from provisioner.web.fields import (
    ITEMS,
    ActorFilter,
    Choice,
    Cursor,
    File,
    Filter,
    IpFilter,
    Limit,
    OneOf,
    TimeFilter,
    VmidFilter,
    Words,
)


class Asked(BaseModel):
    """What all queries share; by itself: nothing may be asked."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


class Paged(Asked):
    """One page of a list, newest first."""

    limit: Limit = ITEMS
    cursor: Cursor = ""


class OperationFilters(Paged):
    """Which operations; `q` looks into id, service id, job id, and the error's code and words."""

    state: Annotated[str, OneOf(tuple(State))] = ""
    kind: Annotated[str, OneOf(tuple(Kind))] = ""
    billing: Filter = ""
    service_id: Filter = ""
    vmid: VmidFilter = None
    q: Filter = ""


class ServiceFilters(Paged):
    """Which services; `q` looks into service id, host name, plan, client, IPs and VM."""

    status: Annotated[str, OneOf(tuple(ServiceStatus))] = ""
    billing: Filter = ""
    vmid: VmidFilter = None
    ip: IpFilter = ""
    q: Filter = ""


class EventFilters(Paged):
    """Which events."""

    state: Annotated[str, OneOf(("accepted", "rejected"))] = ""
    billing: Filter = ""


class AuditFilters(Paged):
    """Which lines of the audit; `actor` as the lines have it, `admin:anna`."""

    vmid: VmidFilter = None
    actor: ActorFilter = ""
    billing: Filter = ""
    service_id: Filter = ""
    since: TimeFilter = None
    until: TimeFilter = None


class Verification(Asked):
    """Where to go on; empty: at the beginning."""

    cursor: Cursor = ""


class Body(Fields):
    """What all bodies share; by itself: an empty one."""

    model_config = ConfigDict(extra="forbid")

    @classmethod
    def forms(cls) -> list[type[BaseModel]]:
        """The models that describe the body, one of which it must fit."""
        return [cls]


class Reasoned(Body):
    """Why, for the timeline and the audit."""

    reason: Words = ""


class Tried(Reasoned):
    """Why, and whether only to judge it and answer what would be."""

    dry_run: Flag = False


class Approval(Tried):
    """What a lost create needs besides: a choice, and with `adopt` a VM; no other hold takes any."""

    choice: Choice | None = None
    vmid: Vmid | None = None


class Fix(Reasoned):
    """Whether suspended VMs that run are stopped, and what is known of each VM is refreshed."""

    fix: Flag = False


class Trust(Reasoned):
    """An installation of the billing system, as its events name it."""

    installation: Installation


class ImportFile(Body):
    """Which VMs are which services'. All of the file is linked or none of it, but with `partial`."""

    file: File
    dry_run: Flag = Field(default=False, description="only say what would be done")
    partial: Flag = Field(default=False, description="link what fits although other lines do not")


class Move(Tried):
    """Which service is to have the VM; of the same billing system where none is named."""

    service_id: ServiceId
    billing: Filter | None = None


class Action(Body):
    """What is to be done for a service: a kind of operation, with the data of its event."""

    model_config = ConfigDict(extra="allow")  # they are the kind's own; its model judges them

    action: Annotated[str, OneOf(tuple(Kind))]
    reason: Words = ""

    @classmethod
    def forms(cls) -> list[type[BaseModel]]:
        return [_form(kind) for kind in Kind]


@cache
def _form(kind: Kind) -> type[BaseModel]:
    name = "".join(word.capitalize() for word in kind.split("_"))
    return create_model(
        f"{name}Action",
        __base__=(MODELS[kind], Body),
        __doc__=f"{kind.value}, with the data of its event, and why.",
        action=(Annotated[str, OneOf((kind.value,))], Field()),
        reason=(Words, ""),
    )


def names(model: type[BaseModel]) -> list[str]:
    """The names that a model's fields have in JSON."""
    return [str(field.validation_alias or name) for name, field in model.model_fields.items()]
