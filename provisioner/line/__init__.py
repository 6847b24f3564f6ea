"""One HTTP call with a deadline for the whole of it, a limit on its answer, and word of whether it left.

TLS is verified, no redirect is followed, and nothing is taken from the environment. What a call goes over is
`wire.py`'s, which comes with the first call: no start waits for http.client and its like.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from provisioner.line.places import Places

if TYPE_CHECKING:
    from provisioner.line.wire import Line

LONGEST_WAIT_S = 3600  # who asks for more is asked again after an hour all the same


@dataclass(frozen=True)
class Received:
    """What came back. `status` is 0 where nothing did; `trouble` says why it is not whole, without secrets.

    `sent` is false if no byte of the request has left this machine.
    """

    status: int = 0
    body: bytes = field(default=b"", repr=False)
    retry_after: str = ""
    trouble: str = ""
    sent: bool = True
    date: str = ""


def retry_after_s(header: str, now_s: float) -> float | None:
    """The seconds that a Retry-After header asks for, as seconds or as an HTTP date, within 0 and an hour.

    :param now_s: Unix time in seconds.
    :returns: None where the header is missing or says neither.
    """
    header = header.strip()
    if header.isascii() and header.isdigit():
        return float(min(int(header[:9]), LONGEST_WAIT_S))
    at_s = date_s(header)
    return None if at_s is None else min(max(at_s - now_s, 0.0), float(LONGEST_WAIT_S))


def date_s(header: str) -> float | None:
    """An HTTP date in seconds since the epoch; None where the header is none."""
    if not header:
        return None
    try:
        moment = parsedate_to_datetime(header)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return moment.timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


class Lines:
    """The places for calls in flight, and the idle lines between calls; safe to use from many threads.

    :param headers: sent with every call.
    :param timeout_s: seconds for the whole of one call: name, connection, request and answer.
    :param max_concurrency: calls in flight at once; others wait for a place, each for `timeout_s` at most
        and in the order in which they came.
    :param tls: whether calls go to https addresses.
    """

    def __init__(
        self, headers: Mapping[str, str], *, timeout_s: float, max_concurrency: int, tls: bool
    ) -> None:
        self._headers = headers
        self._timeout_s = timeout_s
        self._has_tls = tls
        self._places = Places(max_concurrency)
        self._lock = threading.Lock()
        self._idle: list[Line] = []
        self._closed = False

    def carry(
        self,
        method: str,
        url: str,
        body: bytes | None = None,
        *,
        fresh: bool,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> Received:
        """Sends one request and returns what came back, whatever that is.

        :param headers: of this call alone, besides those of all.
        :param fresh: over a connection of its own: an idle one that the peer has closed looks like a lost
            answer.
        :param timeout_s: seconds for this one, where it gets fewer than all others.
        """
        timeout_s = self._timeout_s if timeout_s is None else timeout_s
        if not self._places.take(timeout_s):
            return Received(trouble=f"no place for another call within {timeout_s:g} s", sent=False)
        try:
            with self._line(fresh=fresh) as line:
                return line.carry(method, url, body, headers, timeout_s)
        finally:
            self._places.give_back()

    @contextlib.contextmanager
    def _line(self, *, fresh: bool) -> Iterator[Line]:
        """A line for one call; never an idle one for `fresh`, since the peer may have closed it."""
        with self._lock:
            line = self._idle.pop() if self._idle and not fresh else None
        line = line or self._new()
        try:
            yield line
        finally:
            with self._lock:
                keep = line.whole and not fresh and not self._closed
                if keep:
                    self._idle.append(line)
            if not keep:
                line.close()

    def _new(self) -> Line:
        from provisioner.line.wire import Line  # noqa: PLC0415 - see above

        return Line(self._headers, tls=self._has_tls)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for line in idle:
            line.close()
