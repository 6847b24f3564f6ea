"""Logs as events with fields, ours and the libraries' on one stream; no secret passes."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from typing import Any, TextIO

import structlog
from pydantic import BaseModel, SecretStr
from structlog.stdlib import ProcessorFormatter
from structlog.typing import Processor

from provisioner.redact import REDACTED, redact, scrubber

SHORTEST_SECRET = 8  # characters; taking out a shorter one would take words out of every line
QUIET: Mapping[str, int] = {
    "apscheduler": logging.WARNING,  # two lines for each tick
    "urllib3": logging.WARNING,
    "werkzeug": logging.WARNING,
    "waitress.queue": logging.ERROR,  # a line for each request of a burst
}
_HIDDEN = ("body",)  # beside what the redaction knows by name


def configure(level: str, json: bool, *, secrets: Iterable[str] = (), stream: TextIO | None = None) -> None:
    """Sends all logs to one stream from now on; may be called again.

    :param level: the least that is logged: debug, info, warning or error.
    :param json: one JSON object a line, for programs; else lines for people.
    :param secrets: values that never appear, whoever logs them; see `secret_values`.
    :param stream: stderr where none is given.
    :raises ValueError: there is no such level.
    """
    out = stream or sys.stderr
    handler = logging.StreamHandler(out)
    handler.setFormatter(_Lines(_renderer(json, colours=out.isatty()), secrets))
    root = logging.getLogger()
    root.setLevel(level.upper())
    for former in [former for former in root.handlers if isinstance(former.formatter, _Lines)]:
        root.removeHandler(former)
    root.addHandler(handler)
    for name, least in QUIET.items():
        logging.getLogger(name).setLevel(least)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_stamped(),
            ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )


def secret_values(settings: BaseModel) -> list[str]:
    """Every secret in the settings that is long enough to be told from a word."""
    return sorted({value for value in _secrets(settings) if len(value) >= SHORTEST_SECRET})


class _Lines(ProcessorFormatter):
    """Renders a record, then takes the known secrets out of the line, wherever they got into it."""

    def __init__(self, renderer: Processor, secrets: Iterable[str]) -> None:
        super().__init__(
            foreign_pre_chain=_stamped(),
            processors=[
                ProcessorFormatter.remove_processors_meta,
                # The renderer for people would show local variables too, and secrets are among them.
                structlog.processors.format_exc_info,
                _redacted,
                renderer,
            ],
        )
        self._scrub: Callable[[str], str] = scrubber(secrets)

    def format(self, record: logging.LogRecord) -> str:
        return self._scrub(super().format(record))


def _stamped() -> list[Processor]:
    return [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]


def _renderer(json: bool, *, colours: bool) -> Processor:
    if json:
        return structlog.processors.JSONRenderer()
    return structlog.dev.ConsoleRenderer(colors=colours)


def _redacted(logger: Any, method: str, fields: MutableMapping[str, Any]) -> Mapping[str, Any]:
    hidden = {name: REDACTED for name in _HIDDEN if name in fields}
    redacted = redact({**fields, **hidden})
    return redacted if isinstance(redacted, dict) else {}


def _secrets(value: object) -> Iterator[str]:
    match value:
        case SecretStr():
            text = value.get_secret_value()
            if not text.startswith("sqlite:"):  # a path, and what an error must name
                yield text
        case BaseModel():
            for name in type(value).model_fields:
                yield from _secrets(getattr(value, name))
        case Mapping():
            for inner in value.values():
                yield from _secrets(inner)
        case tuple() | list():
            for inner in value:
                yield from _secrets(inner)
