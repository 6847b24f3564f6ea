"""Logs as events with fields, ours and the libraries' on one stream; no secret passes.

All goes through the standard library's loggers. How a line looks is `lines.py`'s, which comes with the
first of them: with it comes structlog, and a tenth of a start went by before there was anything to say.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from typing import TextIO

from pydantic import BaseModel, SecretStr

from provisioner.redact import scrubber

SHORTEST_SECRET = 8  # characters; taking out a shorter one would take words out of every line
FIELDS = "provisioner_fields"  # the record's attribute: no library and no hook has one of this name
QUIET: Mapping[str, int] = {
    "apscheduler": logging.WARNING,  # two lines for each tick
    "urllib3": logging.WARNING,
    "werkzeug": logging.WARNING,
    "waitress.queue": logging.ERROR,  # a line for each request of a burst
}


class Log:
    """Says what happens, each event with its fields: `log.warning("claim_failed", dispatcher="operations")`.

    :param name: the module's.
    """

    __slots__ = ("_logger",)

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def info(self, event: str, **fields: object) -> None:
        self._say(logging.INFO, event, fields)

    def warning(self, event: str, **fields: object) -> None:
        self._say(logging.WARNING, event, fields)

    def error(self, event: str, *, exc_info: BaseException | None = None, **fields: object) -> None:
        self._say(logging.ERROR, event, fields, exc_info)

    def exception(self, event: str, **fields: object) -> None:
        """An error, with the trace of the exception that is being handled."""
        self._say(logging.ERROR, event, fields, sys.exception())

    def _say(
        self, level: int, event: str, fields: Mapping[str, object], error: BaseException | None = None
    ) -> None:
        self._logger.log(level, event, exc_info=error, extra={FIELDS: fields})


def configure(level: str, json: bool, *, secrets: Iterable[str] = (), stream: TextIO | None = None) -> None:
    """Sends all logs to one stream from now on; may be called again.

    :param level: the least that is logged: debug, info, warning or error.
    :param json: one JSON object a line, for programs; else lines for people.
    :param secrets: values that never appear, whoever logs them; see `secret_values`.
    :param stream: stderr where none is given.
    :raises ValueError: there is no such level.
    """
    out = stream or sys.stderr
    handler = _Handler(out)
    handler.setFormatter(_Lines(secrets, json=json, colours=out.isatty()))
    root = logging.getLogger()
    root.setLevel(level.upper())
    for former in [former for former in root.handlers if isinstance(former.formatter, _Lines)]:
        root.removeHandler(former)
    root.addHandler(handler)
    for name, least in QUIET.items():
        logging.getLogger(name).setLevel(least)


def secret_values(settings: BaseModel) -> list[str]:
    """Every secret in the settings that is long enough to be told from a word."""
    return sorted({value for value in _secrets(settings) if len(value) >= SHORTEST_SECRET})


class _Handler(logging.StreamHandler[TextIO]):
    def handleError(self, record: logging.LogRecord) -> None:
        """What could not be said is not said raw, as the standard library would: a secret may be in it."""
        error = type(sys.exception()).__name__
        with suppress(OSError, ValueError):  # the stream itself may be what is gone
            self.stream.write(f"a line of {record.name} could not be written: {error}\n")


class _Lines(logging.Formatter):
    """Renders a record, then takes the known secrets out of the line, wherever they got into it."""

    def __init__(self, secrets: Iterable[str], *, json: bool, colours: bool) -> None:
        super().__init__()
        self._json = json
        self._colours = colours
        self._scrub = scrubber(secrets)

    @cached_property
    def _rendering(self) -> logging.Formatter:
        from provisioner.logs.lines import rendering  # noqa: PLC0415 - see above

        return rendering(json=self._json, colours=self._colours)

    def format(self, record: logging.LogRecord) -> str:
        return self._scrub(self._rendering.format(record))


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
