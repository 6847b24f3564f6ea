"""A store that was put back or that leaves, and the keys that seal what is in it."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from provisioner.delivery import iso
from provisioner.web import models
from provisioner.web.asked import Asked, Reasoned
from provisioner.web.auth import Admin, Need
from provisioner.web.call import Call
from provisioner.web.surfaces import Surfaces


@dataclass(frozen=True, slots=True)
class RecoveryCalls:
    """`/api/recovery`, `/api/leave` and `/api/keys`."""

    surfaces: Surfaces

    def calls(self) -> list[Call]:
        return [
            Call(
                "GET", "/api/recovery", "Whether the store was put back from a copy, and what is held.",
                self.show_recovery, models.Recovery,
            ),
            Call(
                "POST", "/api/recovery/finish", "Ends the recovery: what is held goes on.",
                self.finish_recovery, models.Released, Reasoned, Need.DECIDE, refuses=(409,),
            ),
            Call(
                "POST", "/api/leave",
                "Ends the work here for good: the store goes on elsewhere (`provisioner backup --move`).",
                self.leave, models.Left, Reasoned, Need.DECIDE,
            ),
            Call(
                "GET", "/api/keys", "What is sealed in the store, and how much of it no key opens.",
                self.show_keys, models.Keys,
            ),
            Call(
                "POST", "/api/keys/forget",
                "Forgets what no key opens: undelivered passwords of these services must be reset.",
                self.forget_unreadable, models.Forgotten, Reasoned, Need.DECIDE, refuses=(409,),
            ),
            Call(
                "POST", "/api/keys/rotate", "Seals everything anew with a new key.",
                self.rotate_keys, models.Resealed, Reasoned, Need.DECIDE, refuses=(409,),
            ),
        ]  # fmt: skip

    def show_recovery(self, admin: Admin, asked: Asked) -> models.Recovery:
        recovery = self.surfaces.recovery
        found = recovery.overview()
        others, unasked = recovery.elsewhere() if found["recovering"] else ([], {})
        return models.Recovery(
            recovering=found["recovering"],
            taken_at=iso(found["taken_at"]) if found["taken_at"] is not None else None,
            held=[models.Operation.of(operation) for operation in found["held"]],
            deliveries=found["deliveries"],
            elsewhere=[models.Elsewhere(**asdict(other)) for other in others],
            unasked=unasked,
        )

    def finish_recovery(self, admin: Admin, asked: Reasoned) -> models.Released:
        released = self.surfaces.recovery.finish(admin.actor, asked.reason, origin=admin.origin)
        return models.Released(released=released)

    def leave(self, admin: Admin, asked: Reasoned) -> models.Left:
        self.surfaces.relocation.leave(admin.actor, asked.reason, origin=admin.origin)
        return models.Left(left=True)

    def show_keys(self, admin: Admin, asked: Asked) -> models.Keys:
        return models.Keys(**asdict(self.surfaces.rotation.standing()))

    def forget_unreadable(self, admin: Admin, asked: Reasoned) -> models.Forgotten:
        services = self.surfaces.rotation.forget_unreadable(admin.actor, asked.reason, origin=admin.origin)
        return models.Forgotten(
            services=[models.ServiceName(billing=name, service_id=service) for name, service in services]
        )

    def rotate_keys(self, admin: Admin, asked: Reasoned) -> models.Resealed:
        resealed = self.surfaces.rotation.rotate(admin.actor, asked.reason, origin=admin.origin)
        return models.Resealed(resealed=resealed)
