"""What an event asks for, resolved when it is accepted and stored with it (contract, section 3, "Spec").

Later edits of a plan change no service. Everything that is refused here depends on the event, the settings
and the template list as last seen; whatever else stands in the way is judged when the operation runs.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from provisioner.config import Plan, Settings
from provisioner.errors import EventRejected
from provisioner.event_models import (
    Change,
    Create,
    Fields,
    Link,
    Reinstall,
    Restore,
    SetRdns,
    Suspend,
)
from provisioner.event_models import Terminate as TerminateFields
from provisioner.operation import Kind
from provisioner.service import Spec, disk_megabytes


@dataclass(frozen=True, slots=True)
class Known:
    """What is known when an event is judged.

    :param spec: the spec last asked for, pending changes included; None where there is none.
    :param plan: the service's present plan, '' where it has none.
    :param templates: the upstream's list as last seen; empty while none was seen.
    """

    settings: Settings
    billing: str
    spec: Spec | None = None
    plan: str = ""
    templates: Collection[str] = ()


def resolve(kind: Kind, data: Fields, known: Known) -> dict[str, Any]:
    """The operation's `args`: everything it needs of the event and the settings.

    :raises EventRejected: `unknown_plan`, `unknown_template`, `over_max` or `invalid_field`.
    """
    match data:
        case Create():
            return _create(data, known)
        case Link():
            return _link(data, known)
        case Change():
            return _change(data, known)
        case Reinstall():
            if data.template is not None:
                _check_template(data.template, known, known.settings.plans.get(known.plan))
            return {"template": data.template}
        case SetRdns() | Suspend() | TerminateFields() | Restore():
            return data.model_dump(mode="json")
    return {}


def _create(data: Create, known: Known) -> dict[str, Any]:
    plan = _plan(data.plan, known)
    template = data.template or plan.template
    options = data.options.given()
    _check_template(template, known, plan)
    _check_limits(options, data.plan, plan)
    return {
        "plan": data.plan,
        "spec": {**plan.spec().as_dict(), **options, "template": template},
        "hostname": data.hostname or "",
        "client_id": data.client.id if data.client else "",
        "recreate": data.recreate,
    }


def _link(data: Link, known: Known) -> dict[str, Any]:
    spec = _plan(data.plan, known).spec().with_options(data.options.given())
    return {
        "vmid": data.vmid,
        "plan": data.plan,
        "spec": spec.as_dict(),
        "ips": [str(ip) for ip in data.ips],
        "hostname": data.hostname or "",
        "status": data.status,
    }


def _change(data: Change, known: Known) -> dict[str, Any]:
    name = data.plan or known.plan
    plan = _plan(name, known) if data.plan else known.settings.plans.get(name)
    base = plan.spec() if data.plan and plan else known.spec
    options = data.options.given()
    _check_limits(options, name, plan)
    args: dict[str, Any] = {
        "plan": name,
        "disk_shrink": plan.disk_shrink if plan else "refuse",
        "template_ignored": data.template_ignored,
    }
    if base is not None:
        spec = base.with_options(options)
        args["spec"] = replace(spec, template=known.spec.template if known.spec else spec.template).as_dict()
    if data.plan is None:
        # What was asked for before may still fail, or keep a value: they go over what came of it.
        args["options"] = options
    return args


def _plan(name: str, known: Known) -> Plan:
    plan = known.settings.plans.get(name)
    sold = known.settings.billing[known.billing].plans if known.billing in known.settings.billing else ()
    if plan is None or (sold and name not in sold):
        raise EventRejected(
            f"data.plan: there is no plan {name!r} for this billing system",
            code="unknown_plan",
            detail=f"plan {name!r} is not in the settings, or not in `plans` of [billing.{known.billing}]",
        )
    return plan


def _check_template(name: str, known: Known, plan: Plan | None) -> None:
    if plan is not None and plan.templates and name not in plan.templates and name != plan.template:
        raise EventRejected(
            f"data.template: {name!r} may not be chosen with this plan", code="unknown_template"
        )
    if known.templates and name not in known.templates:
        raise EventRejected(f"data.template: there is no template {name!r}", code="unknown_template")


def _check_limits(options: Mapping[str, int | str], name: str, plan: Plan | None) -> None:
    """Refuses an option beyond the plan's `max`."""
    for key, value in options.items():
        limit = getattr(plan.max, key) if plan else None
        if limit is not None and _size(value) > _size(limit):
            raise EventRejected(
                f"data.options.{key}: {value} is more than plan {name!r} allows ({limit})",
                code="over_max",
            )


def _size(value: int | str) -> int:
    return disk_megabytes(value) if isinstance(value, str) else value
