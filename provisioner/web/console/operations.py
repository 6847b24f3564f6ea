"""The operations: a list with filters, one with its history, and what a person does with them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from flask import Blueprint, Response, request

from provisioner.engine.approve import CHOICES
from provisioner.engine.reconcile import EMPTY, FACT
from provisioner.errors import NotFound, ProvisionerError, RequestInvalid, WrongState
from provisioner.operation import OPEN, Kind, Operation, State
from provisioner.operations import FIRST, there_before
from provisioner.operations.estimates import left_s
from provisioner.operations.lost_create import HELD_CODES, TOLD_TOO_LITTLE
from provisioner.service import Service
from provisioner.store.verbs import Verbs
from provisioner.web import models
from provisioner.web.api.operations import OperationCalls
from provisioner.web.asked import Approval, OperationFilters, Tried
from provisioner.web.auth import Need, need_of
from provisioner.web.call import judged
from provisioner.web.console.desk import Desk, filters_of, number, reason_of, to
from provisioner.web.console.words import standing
from provisioner.web.fields import is_storable

MOST_AT_ONCE = 500
LIVE = (*OPEN, State.DELIVERING)
BAD = frozenset({"failed", "held", "retry", "token_refused", "delivery_failed", "delivery_given_up"})
GOOD = frozenset({"succeeded", "delivered", "done"})


@dataclass(frozen=True, slots=True)
class Doing:
    """Something a person may do with an operation: its word, whose it is, in which states it is possible."""

    word: str
    done: str
    needs: Need
    states: frozenset[State]
    consequence: str


@dataclass(frozen=True, slots=True)
class Since:
    """The VMs, of any size, that are nobody's and came after a create was sent; one may be its own.

    It is held within moments, and its VM is often listed later.
    """

    seen_at: int
    vmids: tuple[int, ...]


DOINGS: Mapping[str, Doing] = {
    "retry": Doing(
        "Retry", "retried", Need.WORK, frozenset({State.FAILED}), "It goes on from where it failed."
    ),
    "cancel": Doing(
        "Cancel", "cancelled", Need.WORK, frozenset({State.QUEUED, State.WAITING, State.RUNNING, State.HELD}),
        "It ends here; what it has done upstream already stays as it is. The billing system is told.",
    ),
    "approve": Doing(
        "Approve", "approved", Need.DECIDE, frozenset({State.HELD}),
        "The reason that it is held for is lifted; all other checks run again.",
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class OperationPages:
    """`/admin/operations`."""

    desk: Desk

    def add_to(self, blueprint: Blueprint) -> None:
        blueprint.add_url_rule("/operations", "operations", self.list)
        blueprint.add_url_rule("/operations/many", "many", self.do_many, methods=["POST"])
        blueprint.add_url_rule("/operations/<operation>", "operation", self.show)
        blueprint.add_url_rule("/operations/<operation>/<verb>", "ask_operation", self.ask)
        blueprint.add_url_rule("/operations/<operation>/<verb>", "do_operation", self.do, methods=["POST"])

    def list(self) -> Response:
        asked, filters = filters_of(OperationFilters)
        found = self._calls().list_operations(self.desk.admin, asked)
        return self.desk.page(
            "operations", found=found, filters=filters, kinds=list(Kind), states=list(State),
            billings=list(self.desk.surfaces.settings.billing), doings=DOINGS, is_first=not asked.cursor,
        )  # fmt: skip

    def show(self, operation: str) -> Response:
        whole = self._calls().show_operation(self.desk.admin, OperationFilters(), operation)
        stored, service, stands, estimate_s = self.desk.surfaces.store.read(
            lambda verbs: self._around(verbs, operation)
        )
        return self.desk.page(
            "operation", one=whole, stored=stored, service=service, standing=stands, left_s=estimate_s,
            doings=self._possible(stored), timeline=folded(whole.timeline), tone=tone,
            is_live=stored.state in LIVE,
        )  # fmt: skip

    def ask(self, operation: str, verb: str) -> Response:
        """What it would do, before it is done."""
        doing = _doing(verb)
        stored, service, stands, _ = self.desk.surfaces.store.read(
            lambda verbs: self._around(verbs, operation)
        )
        self.desk.admin.must_reach(self._needs(doing, stored))
        if not is_possible(verb, stored):
            raise WrongState(f"{stored.kind} {stored.id} is {stored.state}: there is nothing to {verb}")
        before = self.desk.surfaces.store.read(lambda verbs: there_before.before(verbs, stored))
        return self.desk.page(
            "ask_operation", one=stored, service=service, standing=stands, verb=verb, doing=doing,
            choices=choices_of(stored) if verb == "approve" else (), loss=_loss(stored, service, verb),
            has_begun=stored.step != FIRST, before=before, since=self._seen_since(stored, before),
        )  # fmt: skip

    def do(self, operation: str, verb: str) -> Response:
        doing = _doing(verb)
        self.desk.admin.must_reach(doing.needs)
        self._act(verb)(operation, self.desk.form())
        return to("operation", operation=operation, done=doing.done)

    def do_many(self) -> Response:
        """The same to each of those that were marked; one that is not possible stops none of the others."""
        verb = request.form.get("verb", "")
        doing = _doing(verb)
        self.desk.admin.must_reach(doing.needs)
        ids = _marked()
        if request.form.get("sure") != "yes":
            found = self.desk.surfaces.store.read(lambda verbs: _with_losses(verbs, ids, verb))
            return self.desk.page("ask_many", found=found, verb=verb, doing=doing)
        form = {"reason": request.form.get("reason", "").strip()}
        outcomes = [(each, _outcome(self._act(verb), each, form)) for each in ids]
        return self.desk.page("many", outcomes=outcomes, doing=doing)

    def _act(self, verb: str) -> Callable[[str, dict[str, str]], models.Operation]:
        calls, admin = self._calls(), self.desk.admin

        def act(operation: str, form: dict[str, str]) -> models.Operation:
            if verb == "approve":
                return calls.approve_operation(admin, judged(Approval, _approval(form)), operation)
            asked = judged(Tried, reason_of(form))
            call = calls.retry_operation if verb == "retry" else calls.cancel_operation
            return call(admin, asked, operation)

        return act

    def _around(self, verbs: Verbs, operation: str) -> tuple[Operation, Service | None, Any, float | None]:
        stored = verbs.operation(operation)
        if stored is None:
            raise NotFound(f"there is no operation {operation}")
        now = self.desk.surfaces.clock()
        service = verbs.service(stored.billing, stored.service_id)
        return stored, service, standing(verbs, stored, now), left_s(verbs, stored, now)

    def _seen_since(self, create: Operation, before: Collection[int] | None) -> Since | None:
        """What the last comparison saw, if it was after the create was sent."""
        found = self.desk.surfaces.store.read(lambda verbs: verbs.fact(FACT)) or EMPTY
        sent_at = create.memo.get("sent_at")
        if sent_at is None or before is None or (found["seen_at"] or 0) <= sent_at:
            return None
        foreign = [one["vmid"] for one in found["foreign"]]
        return Since(found["seen_at"], tuple(vmid for vmid in foreign if vmid not in before))

    def _possible(self, operation: Operation) -> dict[str, Doing]:
        admin = self.desk.admin
        return {
            verb: doing
            for verb, doing in DOINGS.items()
            if is_possible(verb, operation) and admin.reaches(self._needs(doing, operation))
        }

    def _needs(self, doing: Doing, operation: Operation) -> Need:
        return need_of(operation.kind) if doing.word == "Retry" else doing.needs

    def _calls(self) -> OperationCalls:
        return OperationCalls(self.desk.surfaces)


def is_possible(verb: str, operation: Operation) -> bool:
    """Whether it makes sense for an operation that stands so; what else is in its way is judged when done."""
    if operation.state not in DOINGS[verb].states:
        return False
    if verb != "cancel":
        return True
    if operation.kind is Kind.TERMINATE:  # until its delete is sent it can be undone
        return not operation.memo.get("delete_sent") or operation.state is State.HELD
    if operation.state is State.HELD:
        return not (operation.kind is Kind.CREATE and operation.sent)
    return not operation.sent


def folded(timeline: Sequence[models.TimelineEntry]) -> list[list[models.TimelineEntry]]:
    """The history with the same call's good answers in a row as one group: a job is looked at many times."""
    return [list(group) for _, group in groupby(timeline, key=_call)]


def _call(entry: models.TimelineEntry) -> object:
    """What is alike folds; all else is itself alone."""
    is_good = entry.what == "upstream" and entry.detail["outcome"] == "ok"
    return entry.detail["call"] if is_good else id(entry)


def tone(entry: models.TimelineEntry) -> str:
    """How a line of the history is drawn: `good`, `bad`, a `person`'s, or none of these."""
    went_wrong = entry.what == "upstream" and entry.detail["outcome"] != "ok"
    if went_wrong or entry.what in BAD:
        return "bad"
    return "good" if entry.what in GOOD else "person" if entry.actor.startswith("admin:") else ""


def choices_of(operation: Operation) -> tuple[str, ...]:
    """What a person chooses from; empty where an approval is enough."""
    if operation.kind is not Kind.CREATE or operation.state is not State.HELD:
        return ()
    if operation.error_code in HELD_CODES:
        return CHOICES
    return ("", *CHOICES) if operation.error_code in TOLD_TOO_LITTLE else ()


def _doing(verb: str) -> Doing:
    if verb not in DOINGS:
        raise NotFound(f"there is nothing called {verb} to do with an operation")
    return DOINGS[verb]


def _marked() -> list[str]:
    """The operations that were marked, each once."""
    ids = list(dict.fromkeys(filter(is_storable, request.form.getlist("operation"))))
    if not ids:
        raise RequestInvalid("Mark the operations first.")
    if len(ids) > MOST_AT_ONCE:
        raise RequestInvalid(f"At most {MOST_AT_ONCE} at once.")
    return ids


def _approval(form: Mapping[str, str]) -> dict[str, Any]:
    asked: dict[str, Any] = {"reason": form.get("reason", "")}
    if choice := form.get("choice"):
        asked["choice"] = choice
    if (vmid := form.get("vmid")) and choice == "adopt":
        asked["vmid"] = number(vmid)
    return asked


def _outcome(
    act: Callable[[str, dict[str, str]], models.Operation], operation: str, form: dict[str, str]
) -> str:
    """Empty where it was done, else why not."""
    try:
        act(operation, form)
    except ProvisionerError as problem:
        return problem.detail
    return ""


def _with_losses(verbs: Verbs, ids: Sequence[str], verb: str) -> list[tuple[Operation, str]]:
    """Those of these operations that there are, each with what is lost."""
    found = filter(None, map(verbs.operation, ids))
    return [(one, _loss(one, verbs.service(one.billing, one.service_id), verb)) for one in found]


def _loss(operation: Operation, service: Service | None, verb: str) -> str:
    """What is lost for good when this is done; empty where nothing is."""
    vmid = service.vmid if service else None
    if verb == "cancel" or vmid is None:
        return ""
    names = ", ".join(filter(None, [service.hostname, *service.ips])) if service else ""
    vm = f"VM {vmid}" + (f" ({names})" if names else "")
    return {
        Kind.TERMINATE: f"{vm} of service {operation.billing}/{operation.service_id} is deleted, with all "
        "that is on it and its backups.",
        Kind.REINSTALL: f"Everything on {vm} is erased.",
        Kind.RESTORE: f"What is on {vm} now is replaced by the backup.",
    }.get(operation.kind, "")
