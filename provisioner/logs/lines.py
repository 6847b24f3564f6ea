"""How a line of the log looks: JSON for programs, columns for people, and nothing in it that is secret."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog
from structlog.stdlib import ProcessorFormatter
from structlog.typing import EventDict, Processor

from provisioner.logs import FIELDS
from provisioner.redact import REDACTED, redact

_HIDDEN = ("body",)  # beside what the redaction knows by name


def rendering(*, json: bool, colours: bool) -> ProcessorFormatter:
    """What makes a line of a record; `logs.Log` puts an event's fields beside it.

    :param json: one JSON object; else columns, with or without colours.
    """
    return ProcessorFormatter(
        foreign_pre_chain=[
            _with_fields,
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
        ],
        processors=[
            ProcessorFormatter.remove_processors_meta,
            # The renderer for people would show local variables too, and secrets are among them.
            structlog.processors.format_exc_info,
            _redacted,
            _renderer(json, colours),
        ],
    )


def _renderer(json: bool, colours: bool) -> Processor:
    return structlog.processors.JSONRenderer() if json else structlog.dev.ConsoleRenderer(colors=colours)


def _with_fields(logger: Any, method: str, event: EventDict) -> EventDict:
    return {**getattr(event["_record"], FIELDS, {}), **event}


def _redacted(logger: Any, method: str, fields: MutableMapping[str, Any]) -> Mapping[str, Any]:
    hidden = {name: REDACTED for name in _HIDDEN if name in fields}
    redacted = redact({**fields, **hidden})
    return redacted if isinstance(redacted, dict) else {}
