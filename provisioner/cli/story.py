"""What a demo tells: the timelines of one service's operations, as lines that a stranger understands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

SHOP, SERVICE, UPSTREAM = "shop", "provisioner", "upstream"


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that happened: how many seconds after the beginning, between whom, and what."""

    at_s: float
    who: str
    what: str
    good: bool = True


class Story:
    """Tells each line of each timeline once.

    :param began_at: when the order was sent, as the admin API writes times.
    """

    def __init__(self, began_at: datetime) -> None:
        self._began_at = began_at
        self._told: dict[str, int] = {}

    def more(self, operations: Sequence[Mapping[str, Any]]) -> list[Line]:
        """What is new in these operations, as `GET /api/operations/<id>` shows them, in order of time."""
        lines = [line for operation in operations for line in self._of(operation)]
        return sorted(lines, key=lambda line: line.at_s)

    def _of(self, operation: Mapping[str, Any]) -> Iterator[Line]:
        timeline = operation["timeline"]
        first = self._told.get(operation["id"], 0)
        self._told[operation["id"]] = len(timeline)
        for entry in timeline[first:]:
            told = _words(operation["kind"], entry["what"], entry["detail"])
            if told is not None:
                at_s = (datetime.fromisoformat(entry["at"]) - self._began_at).total_seconds()
                yield Line(max(at_s, 0.0), *told)


def _words(kind: str, what: str, detail: Mapping[str, Any]) -> tuple[str, str, bool] | None:
    """Between whom, what, and whether it is good; None for what a stranger need not know."""
    match what:
        case "accepted":
            return SERVICE, f"{kind}: accepted, and durable from here on", True
        case "upstream" if not detail["call"].startswith("GET"):
            status = detail["status"]
            return f"{SERVICE} → {UPSTREAM}", f"{detail['call']}: {status or 'no answer'}", status == 200
        case "delivered":
            return f"{SERVICE} → {SHOP}", f"{detail['type']}: delivered", True
        case "succeeded" | "failed" | "held" | "cancelled":
            return SERVICE, f"{kind}: {what}", what == "succeeded"
    return None
