"""Faults on request: rules that say which call goes wrong, how, and how often."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import Any

from provisioner.sandbox.settings import built
from provisioner.sandbox.wire import Answer, Exchange

UNPROCESSED = frozenset({"drop_before", "error", "page", "redirect", "rate_limit"})
PROCESSED = frozenset(
    {
        "drop_after",
        "truncate",
        "slow",
        "slow_before",
        "trickle",
        "trickle_headers",
        "error_after",
        "page_after",
        "garbage",
        "huge",
    }
)


@dataclass(frozen=True, slots=True)
class Rule:
    """One fault.

    :param kind: what goes wrong; one of `UNPROCESSED` (the call does nothing) or `PROCESSED` (it works).
    :param method: of the calls that match; `*` is any.
    :param path: a glob on the path after `/api/v1`; a star also matches slashes.
    :param times: how many calls it meets; 0 until the faults are cleared.
    :param after: how many matching calls it lets through first.
    :param seconds: for `slow`, `slow_before`, `trickle` and `trickle_headers`.
    :param status: of the answer, where the kind makes one; None for the kind's own.
    :param error: of `error` and `error_after`.
    :param retry_after: of `rate_limit`: seconds, or an HTTP date.
    """

    kind: str = ""
    method: str = "*"
    path: str = "*"
    times: int = 1
    after: int = 0
    seconds: float = 1.0
    status: int | None = None
    error: str = "0xa3: timeout"
    retry_after: float | str = 1

    def __post_init__(self) -> None:
        if self.kind not in UNPROCESSED | PROCESSED:
            raise ValueError(f"kind: {self.kind!r} is none of {', '.join(sorted(UNPROCESSED | PROCESSED))}")
        if self.status is not None and not 200 <= self.status <= 599:
            raise ValueError(f"status: {self.status} is not from 200 to 599")
        if not (str(self.retry_after).isascii() and str(self.retry_after).isprintable()):
            raise ValueError("retry_after: it must fit into a header")

    @property
    def processed(self) -> bool:
        """Whether the call is carried out."""
        return self.kind in PROCESSED

    @property
    def drops(self) -> bool:
        """Whether no byte of an answer is sent."""
        return self.kind in ("drop_before", "drop_after")

    def matches(self, method: str, path: str) -> bool:
        return self.method in ("*", method) and fnmatchcase(path, self.path)

    def answer(self, exchange: Exchange, process: Callable[[], Answer]) -> Answer:
        """What is answered instead; `process` carries the call out, where this kind lets it."""
        if self.kind == "slow_before":
            exchange.wait(self.seconds)
        answer = process() if self.processed else Answer(200)
        match self.kind:
            case "error" | "error_after":
                return Answer.json(self.status or 500, {"result": False, "error": self.error})
            case "page" | "page_after":
                return Answer.page(self.status or 502)
            case "redirect":
                return Answer(self.status or 307, headers={"Location": exchange.path})
            case "rate_limit":
                wait = {"Retry-After": str(self.retry_after)}
                return Answer.json(self.status or 429, {"message": "Too Many Attempts."}, wait)
            case "garbage":
                return Answer(self.status or 200, b'{"result": <no JSON>')
        return answer

    def send(self, exchange: Exchange, answer: Answer) -> None:
        """Sends the answer as badly as this kind does."""
        match self.kind:
            case "drop_before" | "drop_after":
                exchange.drop()
            case "truncate":
                exchange.truncate(answer)
            case "trickle":
                exchange.trickle(answer, self.seconds)
            case "trickle_headers":
                exchange.trickle_head(answer, self.seconds)
            case "huge":
                exchange.flood(answer)
            case "slow":
                exchange.wait(self.seconds)
                exchange.send(answer)
            case _:
                exchange.send(answer)


@dataclass(slots=True)
class _Waiting:
    rule: Rule
    seen: int = 0
    met: int = 0

    @property
    def due(self) -> bool:
        return self.seen > self.rule.after and (self.rule.times == 0 or self.met < self.rule.times)


class Faults:
    """The rules, in the order in which they came; a call meets one of them at most."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[_Waiting] = []

    def add(self, *rules: dict[str, Any]) -> None:
        """:raises RequestInvalid: for a key, kind or value that no rule has; none is added then."""
        waiting = [_Waiting(built(Rule, rule)) for rule in rules]
        with self._lock:
            self._waiting += waiting

    def clear(self) -> None:
        with self._lock:
            self._waiting.clear()

    def take(self, method: str, path: str) -> Rule | None:
        """The rule that this call meets, with that used up once."""
        with self._lock:
            matching = [each for each in self._waiting if each.rule.matches(method, path)]
            for each in matching:
                each.seen += 1
            first = next((each for each in matching if each.due), None)
            if first is None:
                return None
            first.met += 1
            return first.rule

    def facts(self) -> list[dict[str, Any]]:
        """Every rule, with how many calls it `met`."""
        with self._lock:
            return [{**asdict(each.rule), "met": each.met} for each in self._waiting]
