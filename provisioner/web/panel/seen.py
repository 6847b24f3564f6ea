"""What a customer sees of a service: its state, what is being done, how busy it is, what was done before."""

from __future__ import annotations

import re
from dataclasses import dataclass

from provisioner.engine.offers import Offers
from provisioner.operation import DELIVERY_FAILED, OPEN, Kind, Operation, State
from provisioner.operations import estimates
from provisioner.service import ServiceStatus
from provisioner.store.verbs import Verbs
from provisioner.web.browser.plot import Line, line
from provisioner.web.models import progress_of
from provisioner.web.panel.speech import Speech
from provisioner.web.panel.words import AGAIN, READY, STATUSES, STEPS, TITLES
from provisioner.web.words import message

MOST_SHARE = 0.95  # as far as an estimate alone goes: the end is what is seen
WITH_ACCESS_DATA = frozenset({Kind.CREATE, Kind.REINSTALL, Kind.RESET_PASSWORD})
_OPEN = {State.HELD: "held", State.QUEUED: "queued"}
_OUTCOMES = {State.SUCCEEDED: "succeeded", State.DELIVERING: "succeeded", State.FAILED: "failed"}
_CUSTOMER = re.compile(r"panel:[^:]*|(panel|billing):[^:]*:client(:.*)?")  # staff may come by a link too


@dataclass(frozen=True, slots=True)
class Step:
    """One step of something that takes time; `state` is `done`, `now` or `later`."""

    words: str
    state: str


@dataclass(frozen=True, slots=True)
class Doing:
    """What is being done. `share` runs from 0 to 1; None where nobody knows it."""

    words: str
    share: float | None
    left: str
    note: str
    steps: tuple[Step, ...]
    is_held: bool


@dataclass(frozen=True, slots=True)
class Past:
    """One line of the history; `outcome` is succeeded, failed, cancelled, held, queued or running."""

    at: int
    title: str
    about: str
    outcome: str
    words: str
    who: str


@dataclass(frozen=True, slots=True)
class Load:
    """One figure of the server: what it is now, and how it was over the last minutes."""

    label: str
    now: str
    plot: Line
    since: str


def doing(verbs: Verbs, offers: Offers, now: int, _: Speech) -> Doing | None:
    """What is being done for the service, or None: nothing is."""
    under_way, last = offers.standing.under_way, offers.standing.last
    if offers.standing.service.status is ServiceStatus.FAILED:
        return None  # what waits behind the failed set-up stands still
    if under_way:
        operation = next((one for one in under_way if one.state is not State.FAILED), None)
        return _doing(verbs, operation, now, _) if operation else None
    if last is not None and last.state is State.DELIVERING and last.kind in WITH_ACCESS_DATA:
        return Doing(_(READY), 1.0, "", "", _steps(last, _), is_held=False)
    return None


def state(offers: Offers, _: Speech) -> tuple[str, str]:
    """How the server is, as a word for the stylesheet and in words."""
    status = offers.standing.service.status
    if status is not ServiceStatus.ACTIVE:
        return status.value, _(STATUSES[status])
    if offers.is_running is None:
        return "queued", _("Changing") if offers.standing.under_way else _("Not known yet")
    return ("active", _("Running")) if offers.is_running else ("terminated", _("Off"))


def is_unknown(offers: Offers) -> bool:
    """Whether the server is there, and what it does is still to be seen."""
    service = offers.standing.service
    is_there = service.vmid is not None and service.status is ServiceStatus.ACTIVE
    return is_there and offers.is_running is None


def loads(offers: Offers, _: Speech) -> list[Load]:
    """CPU, memory and net of the last minutes; empty before the first look and while the server is off."""
    samples = offers.look.samples
    if not samples or not offers.look.is_running:
        return []
    last, whole = samples[-1], _.size(samples[-1].mem_total)
    since = _.ago(samples[0].at, last.at)
    return [
        Load(
            _("Processor"), _.percent(last.cpu),
            line([(one.at, one.cpu) for one in samples], 1.0, top_words=_.percent(1)), since,
        ),
        Load(
            _("Memory"), _("%(used)s of %(all)s", used=_.size(last.mem), all=whole),
            line([(one.at, one.mem) for one in samples], last.mem_total, top_words=whole), since,
        ),
        _net(_("Received"), [(one.at, one.net_in) for one in samples], since, _),
        _net(_("Sent"), [(one.at, one.net_out) for one in samples], since, _),
    ]  # fmt: skip


def past(operation: Operation, about: str, _: Speech) -> Past:
    """An operation as a line of the history: in a customer's words, never an operator's or the upstream's."""
    outcome = _outcome(operation)
    words = "" if outcome in ("succeeded", "queued") else _(message(operation))
    who = _("You") if _CUSTOMER.fullmatch(operation.actor) else _("Support")
    if operation.actor.startswith("billing:") and not _CUSTOMER.fullmatch(operation.actor):
        who = _("Automatic")
    return Past(operation.updated_at, _(TITLES[operation.kind]), about, outcome, words, who)


def _outcome(operation: Operation) -> str:
    if operation.error_code == DELIVERY_FAILED:
        return "succeeded"  # the work is done; that a message did not arrive is none of the customer's
    if operation.state in OPEN:
        return _OPEN.get(operation.state, "running")
    return _OUTCOMES.get(operation.state, "cancelled")


def _doing(verbs: Verbs, operation: Operation, now: int, _: Speech) -> Doing:
    left_s = estimates.left_s(verbs, operation, now)
    usual_s = estimates.usual_s(verbs, operation)
    is_held = operation.state is State.HELD
    note = AGAIN if operation.memo.get("waits_for") == "retry" and operation.state is State.WAITING else ""
    return Doing(
        _(message(operation)),
        None if is_held else _share(operation, left_s, usual_s),
        _left(left_s, _),
        _(note) if note else "",
        _steps(operation, _),
        is_held,
    )


def _share(operation: Operation, left_s: float | None, usual_s: float | None) -> float | None:
    """What the work itself says; else what the usual time says."""
    told = progress_of(operation)
    if told is not None and told > 0:
        return told
    if left_s is None or not usual_s:
        return None
    return min(1 - left_s / usual_s, MOST_SHARE)


def _left(left_s: float | None, _: Speech) -> str:
    if left_s is None:
        return ""
    return _("About %(span)s left", span=_.about(left_s)) if left_s >= 1 else _("Any moment now")


def _steps(operation: Operation, _: Speech) -> tuple[Step, ...]:
    """Where it is among its steps; the present one is the second as soon as something was sent."""
    words = STEPS.get(operation.kind, ())
    present = 2 if operation.state is State.DELIVERING else 1 if operation.sent else 0
    states = ["done" if place < present else "now" if place == present else "later" for place in range(3)]
    return tuple(Step(_(word), each) for word, each in zip(words, states, strict=False))


def _net(label: str, rates: list[tuple[int, float | None]], since: str, _: Speech) -> Load:
    known = [(float(at), rate) for at, rate in rates if rate is not None]
    top = max((rate for __, rate in known), default=0.0)
    now = _.rate(known[-1][1]) if known else "–"
    return Load(label, now, line(known, top, top_words=_.rate(top)), since)
