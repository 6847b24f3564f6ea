"""The pages of one service: a look, and everything that a customer may have done."""

from __future__ import annotations

import mimetypes
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, Response, abort, request

from provisioner.engine.offers import Offers
from provisioner.errors import RequestInvalid
from provisioner.event import judge_action
from provisioner.event_models import Bare
from provisioner.operation import Kind, Operation, State
from provisioner.service import Service, disk_megabytes
from provisioner.web.pages import page
from provisioner.web.panel import seen
from provisioner.web.panel.brand import Brand
from provisioner.web.panel.desk import Desk
from provisioner.web.panel.words import POWER

PAST_A_PAGE = 25
NAMES_LOOKED_AT = 300  # as many as a service can have addresses, and more than one ever sets
STYLE_KEPT_S = 3600
AGAIN_S = 3
MEGABYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class ServicePages:
    """`/panel/at/<ref>/…`; the door has found out which service that is."""

    desk: Desk

    def add_to(self, blueprint: Blueprint) -> None:
        at = "/at/<ref>"
        for path, name, view, methods in (
            ("/", "overview", self.overview, ["GET"]),
            ("/power/<kind>", "ask_power", self.ask_power, ["GET"]),
            ("/power/<kind>", "power", self.power, ["POST"]),
            ("/reinstall", "ask_reinstall", self.ask_reinstall, ["GET"]),
            ("/reinstall", "reinstall", self.reinstall, ["POST"]),
            ("/password", "ask_password", self.ask_password, ["GET"]),
            ("/password", "password", self.reset_password, ["POST"]),
            ("/password/show", "show_password", self.show_password, ["POST"]),
            ("/addresses", "addresses", self.addresses, ["GET"]),
            ("/addresses", "set_rdns", self.set_rdns, ["POST"]),
            ("/backups", "backups", self.backups, ["GET"]),
            ("/backups", "make_backup", self.make_backup, ["POST"]),
            ("/backups/<int:backup>", "ask_restore", self.ask_restore, ["GET"]),
            ("/backups/<int:backup>", "restore", self.restore, ["POST"]),
            ("/history", "history", self.history, ["GET"]),
        ):
            blueprint.add_url_rule(at + path, name, view, methods=methods)
        blueprint.add_url_rule("/brand/<billing>.css", "style", self.style)
        blueprint.add_url_rule("/brand/<billing>/logo", "logo", self.logo)

    def overview(self, ref: str) -> Response:
        offers = self.desk.offers()
        return self._page("overview", offers, loads=seen.loads(offers, self.desk.speech))

    def ask_power(self, ref: str, kind: str) -> Response:
        """What happens and what is lost, before anything is done."""
        return self._page("ask_power", self.desk.offers(), kind=_power(kind), ask=POWER[_power(kind)])

    def power(self, ref: str, kind: str) -> Response:
        self.desk.act(_power(kind), Bare())
        return self.desk.to("overview")

    def ask_reinstall(self, ref: str) -> Response:
        offers = self.desk.offers()
        choices = [(name, self.desk.label_of(name)) for name in offers.standing.templates]
        return self._page("reinstall", offers, choices=choices, chosen=_template(offers.standing.service))

    def reinstall(self, ref: str) -> Response:
        """Its form says what is lost; the box in it says that this was read."""
        if request.form.get("understood") != "yes":
            return self.desk.to("ask_reinstall", unread="yes")
        self.desk.act(
            Kind.REINSTALL, judge_action(Kind.REINSTALL, {"template": request.form.get("template", "")})
        )
        return self.desk.to("overview")

    def ask_password(self, ref: str) -> Response:
        return self._page("password", self.desk.offers(), is_kept=self._is_kept())

    def reset_password(self, ref: str) -> Response:
        self.desk.act(Kind.RESET_PASSWORD, Bare())
        return self.desk.to("ask_password")

    def show_password(self, ref: str) -> Response:
        """Once: what is shown is erased before it is shown."""
        guest, shown_once = self.desk.guest, self.desk.surfaces.shown_once
        shown = shown_once.show(guest.billing, guest.service_id, self.desk.session_digest)
        if shown is None:
            return self.desk.to("ask_password", gone="yes")
        return self._page("shown", self.desk.offers(), shown=shown)

    def addresses(self, ref: str) -> Response:
        offers = self.desk.offers()
        return self._page(
            "addresses", offers, names=self._reverse_names(), wrong=request.args.get("wrong", "")
        )

    def set_rdns(self, ref: str) -> Response:
        ip = request.form.get("ip", "")
        try:
            hostname = request.form.get("hostname", "").strip().rstrip(".")
            data = judge_action(Kind.SET_RDNS, {"ip": ip, "hostname": hostname})
        except RequestInvalid:
            return self.desk.to("addresses", wrong=ip)
        self.desk.act(Kind.SET_RDNS, data)
        return self.desk.to("addresses")

    def backups(self, ref: str) -> Response:
        return self._page("backups", self.desk.offers())

    def make_backup(self, ref: str) -> Response:
        self.desk.act(Kind.BACKUP, Bare())
        return self.desk.to("backups")

    def ask_restore(self, ref: str, backup: int) -> Response:
        judge_action(Kind.RESTORE, {"backup": backup})  # a number that is no time is no backup
        offers = self.desk.offers()
        why = offers.why_not(Kind.RESTORE)
        if why is None and backup not in (offers.look.backups or ()):
            abort(404)
        return self._page("ask_restore", offers, backup=backup, why=why)

    def restore(self, ref: str, backup: int) -> Response:
        self.desk.act(Kind.RESTORE, judge_action(Kind.RESTORE, {"backup": backup}))
        return self.desk.to("overview")

    def history(self, ref: str) -> Response:
        guest = self.desk.guest
        found = page(
            f"panel {guest.ref}",
            request.args.get("cursor", ""),
            PAST_A_PAGE,
            lambda limit, place: self.desk.surfaces.store.read(
                lambda verbs: verbs.operations(
                    limit, place, billing=guest.billing, service_id=guest.service_id
                )
            ),
        )
        lines = [self._past(operation) for operation in found.rows]
        return self._page("history", self.desk.offers(), lines=lines, next=found.next)

    def style(self, billing: str) -> Response:
        """The colour as a stylesheet: a page has no style inline."""
        return _kept(Response(self._brand(billing).stylesheet, mimetype="text/css"))

    def logo(self, billing: str) -> Response:
        """The logo, where it is a file."""
        file = self._brand(billing).logo_file
        if file is None or not file.is_file():
            abort(404)
        return _kept(Response(file.read_bytes(), mimetype=mimetypes.guess_type(file.name)[0]))

    def _brand(self, billing: str) -> Brand:
        found = self.desk.surfaces.settings.billing.get(billing)
        if found is None:
            abort(404)
        return Brand(billing, found.panel)

    def _page(self, name: str, offers: Offers, **facts: Any) -> Response:
        """A page with what every page of the service says: its name, its state, what is being done."""
        said, now = self.desk.speech, self.desk.surfaces.clock()
        service, look = offers.standing.service, offers.look
        doing = self.desk.surfaces.store.read(lambda verbs: seen.doing(verbs, offers, now, said))
        common = {
            "service": service,
            "server_name": self.desk.name_of(service),
            "size": _size(service, offers),
            "system": self.desk.label_of(_template(service)),
            "plan": self._plan(service),
            "offers": offers,
            "look": look,
            "state": seen.state(offers, said),
            "doing": doing,
            "last": self._last(offers),
            "Kind": Kind,
            "POWER": POWER,
            # Without a script a page fetches itself anew while something is on its way.
            "again_s": AGAIN_S if doing or seen.is_unknown(offers) else 0,
        }
        return self.desk.page(name, **{**common, **facts})

    def _past(self, operation: Operation) -> seen.Past:
        return seen.past(operation, self._about(operation), self.desk.speech)

    def _about(self, operation: Operation) -> str:
        """What an operation was about, where its kind does not say it all."""
        args = operation.args
        match operation.kind:
            case Kind.REINSTALL if args.get("template"):
                return self.desk.label_of(args["template"])
            case Kind.RESTORE:
                return self.desk.speech.moment(args["backup"] * 1000)
            case Kind.SET_RDNS:
                return " → ".join(filter(None, (args.get("ip"), args.get("hostname"))))
        return ""

    def _last(self, offers: Offers) -> seen.Past | None:
        """What was done last, if it has ended."""
        last = offers.standing.last
        return None if last is None or offers.standing.under_way else self._past(last)

    def _plan(self, service: Service) -> str:
        plan = self.desk.surfaces.settings.plans.get(service.plan)
        return plan.label if plan and plan.label else service.plan

    def _is_kept(self) -> bool:
        guest, shown_once = self.desk.guest, self.desk.surfaces.shown_once
        return shown_once.is_kept(guest.billing, guest.service_id, self.desk.session_digest)

    def _reverse_names(self) -> dict[str, str]:
        """The name that was last set here for each address: no call tells what it is now."""
        whose = {"billing": self.desk.guest.billing, "service_id": self.desk.guest.service_id}
        latest = self.desk.surfaces.store.read(
            lambda verbs: verbs.operations(NAMES_LOOKED_AT, None, kind=Kind.SET_RDNS, **whose)
        )
        service = self.desk.standing().service
        first = service.ips[0] if service.ips else ""
        return {
            operation.args.get("ip") or first: operation.args["hostname"]
            for operation in reversed(latest)
            if operation.state in (State.SUCCEEDED, State.DELIVERING)
        }


def _kept(answer: Response) -> Response:
    """It is the same for everybody: a browser may keep it."""
    answer.headers["Cache-Control"] = f"public, max-age={STYLE_KEPT_S}"
    return answer


def _power(kind: str) -> Kind:
    """The power action of this name; there are no others at this address."""
    if kind not in POWER:
        abort(404)
    return Kind(kind)


def _template(service: Service) -> str:
    return service.spec.template if service.spec else ""


def _size(service: Service, offers: Offers) -> dict[str, Any] | None:
    """Cores, and memory and disk in bytes: as just seen, else as on record."""
    size = offers.look.size or service.config or service.spec
    if size is None:
        return None
    return {
        "cpu_cores": size.cpu_cores,
        "mem": size.mem * MEGABYTE,
        "disk": disk_megabytes(size.disk) * MEGABYTE,
    }
