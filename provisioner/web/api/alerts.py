"""What a person must know of at this moment: the alerts that are on."""

from __future__ import annotations

from dataclasses import dataclass

from provisioner.web import models
from provisioner.web.asked import Asked
from provisioner.web.auth import Admin
from provisioner.web.call import Call
from provisioner.web.surfaces import Surfaces


@dataclass(frozen=True, slots=True)
class AlertCalls:
    """`/api/alerts`."""

    surfaces: Surfaces

    def calls(self) -> list[Call]:
        return [
            Call(
                "GET", "/api/alerts", "The alerts that are on, the oldest first.",
                self.list_alerts, models.Alerts,
            ),
        ]  # fmt: skip

    def list_alerts(self, admin: Admin, asked: Asked) -> models.Alerts:
        alerts = self.surfaces.alerts
        return models.Alerts.of(alerts.on(), alerts.looked_at, alerts.waiting(), alerts.troubles())
