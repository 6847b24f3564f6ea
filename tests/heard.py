"""What is logged, as tests look at it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from provisioner.logs import FIELDS


@contextmanager
def capture_logs() -> Iterator[list[dict[str, Any]]]:
    """Our events while it lasts, of every level: their fields, `event`, `log_level`, and `exc_info`."""
    heard: list[dict[str, Any]] = []
    root, ours = logging.getLogger(), logging.getLogger("provisioner")
    before, listener = ours.level, _Listener(heard)
    root.addHandler(listener)
    ours.setLevel(logging.DEBUG)
    try:
        yield heard
    finally:
        ours.setLevel(before)
        root.removeHandler(listener)


class _Listener(logging.Handler):
    def __init__(self, heard: list[dict[str, Any]]) -> None:
        super().__init__()
        self._heard = heard

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.startswith("provisioner."):
            said = {"event": record.msg, "log_level": record.levelname.lower(), "exc_info": record.exc_info}
            self._heard.append({**vars(record)[FIELDS], **said})
