"""Posts signed events over keep-alive connections, from one process that shares the machine with the server.

It sends bytes that were made before over plain sockets, and looks at no more of an answer than it must, so
that most of the machine is the server's. An answer that is no 202 fails the run.
"""

from __future__ import annotations

import json
import re
import select
import socket
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice

from provisioner.signing import Signer

PATIENCE_S = 20.0
WANTED = b"HTTP/1.1 202"
LENGTH = re.compile(rb"\r\n[Cc]ontent-[Ll]ength: *(\d+)")
CHUNK = 1 << 16
NUMBER = b"NUMBER7"  # as long as the numbers are
HEAD = (
    b"POST /webhooks/shop HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: shop/1\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\n%b\r\n%b"
)


@dataclass(frozen=True, slots=True)
class Run:
    """What one run of the load found; a latency is from the first byte out to the last one in."""

    accepted: int
    per_s: float
    p50_ms: float
    p99_ms: float


class Webhooks:
    """Signed `order.paid` requests, each of another order; none of them is ever made twice.

    :param secret: the billing system's.
    :param hostname: whether orders ask for one, which is an operation more for each.
    """

    def __init__(self, secret: str, *, hostname: bool = False) -> None:
        self._signer = Signer([secret])
        self._body = body_of_order(hostname)
        # Of one length, as the bodies are; of another range where the same service is asked for others.
        self._numbers = count(5_000_000 if hostname else 1_000_000)

    def take(self, number: int) -> list[bytes]:
        """So many requests, signed now: they are good for 300 s."""
        now_s = int(time.time())
        return [self._request(one, now_s) for one in islice(self._numbers, number)]

    def _request(self, number: int, now_s: int) -> bytes:
        body = self._body.replace(NUMBER, b"%d" % number)
        signed = self._signer.sign(f"evt_{number}", now_s, body)
        return HEAD % (
            len(body),
            "".join(f"{name}: {value}\r\n" for name, value in signed.items()).encode(),
            body,
        )


def body_of_order(hostname: bool) -> bytes:
    """An order.paid with all that a billing system says beside; `NUMBER` stands for its number."""
    number = NUMBER.decode()
    data = {
        "service_id": number,
        "plan": "vps-s",
        "options": {"cpu_cores": 2, "mem": 2048, "disk": "20G", "ip_count": 1},
        "client": {
            "id": number, "name": "Erika Example", "company": "Example & Sons Ltd", "language": "english",
            "email": f"client{number}@example.com", "phone": "+49.301234567",
            "address": {"street": "1 Example Street", "city": "Exampleton", "postcode": "12345"},
        },
        "invoice": {
            "number": f"2026-{number}", "currency": "EUR", "total": "47.60", "tax": "7.60", "paid_by": "card",
            "lines": [{"text": f"VPS S, month {month} of 4", "price": "10.00"} for month in (1, 2, 3, 4)],
            "transaction": "pi_3QexampleExampleExample0", "paid_at": "2026-11-23T11:59:58Z",
            "notes": "paid in advance, renews by itself", "terms": "https://shop.example.com/terms/2026-01",
        },
        **({"hostname": f"web{number}.example.com"} if hostname else {}),
    }  # fmt: skip
    source = {"installation": "https://billing.example.com/#4f2a", "actor": {"type": "cron", "name": ""}}
    event = {"type": "order.paid", "timestamp": "2026-11-23T12:00:00Z", "data": data, "source": source}
    return json.dumps(event).encode()


def post(address: tuple[str, int], requests: list[bytes], connections: int, seconds: float) -> Run:
    """Posts over so many connections, each with one request under way, until the time or the requests end.

    :raises RuntimeError: an answer was no 202, or none came.
    """
    lines = [_Line(address) for _ in range(connections)]
    try:
        return _Load(lines, iter(requests), seconds).run()
    finally:
        for line in lines:
            line.socket.close()


class _Line:
    """One connection and what is under way on it."""

    __slots__ = ("answer", "began", "socket")

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address, timeout=PATIENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.answer = b""
        self.began = 0.0

    def ask(self, request: bytes) -> None:
        self.began = time.perf_counter()
        self.socket.sendall(request)  # fits the socket's buffer: it is the only one under way

    def is_answered(self) -> bool:
        """Reads what came; whether that was the whole answer.

        :raises RuntimeError: it is no 202.
        """
        piece = self.socket.recv(CHUNK)
        self.answer += piece
        head, end, body = self.answer.partition(b"\r\n\r\n")
        if not piece or not self.answer.startswith(WANTED[: len(self.answer)]):
            raise RuntimeError(f"no 202 but: {self.answer[:2000]!r}")
        length = LENGTH.search(head) if end else None
        if end and length is None:
            raise RuntimeError(f"an answer without a length: {head!r}")
        if length is None or len(body) < int(length[1]):
            return False
        self.answer = b""
        return True


class _Load:
    def __init__(self, lines: list[_Line], requests: Iterator[bytes], seconds: float) -> None:
        self._lines = {line.socket.fileno(): line for line in lines}
        self._requests = requests
        self._seconds = seconds
        self._poll = select.epoll()
        self._taken: list[float] = []

    def run(self) -> Run:
        began = time.perf_counter()
        self._until = began + self._seconds
        busy = sum(self._ask(line) for line in self._lines.values())
        while busy:
            ready = self._poll.poll(PATIENCE_S)
            if not ready:
                raise RuntimeError(f"no answer within {PATIENCE_S} s")
            for place, _ in ready:
                busy -= self._look(self._lines[place])
        seconds = time.perf_counter() - began
        self._poll.close()
        self._taken.sort()
        return Run(
            accepted=len(self._taken),
            per_s=len(self._taken) / seconds,
            p50_ms=statistics.median(self._taken) * 1000,
            p99_ms=self._taken[int(len(self._taken) * 0.99)] * 1000,
        )

    def _ask(self, line: _Line) -> bool:
        """Asks once and waits for the answer; False where nothing is left to ask."""
        request = next(self._requests, None)
        if request is None:
            return False
        line.ask(request)
        self._poll.register(line.socket, select.EPOLLIN)
        return True

    def _look(self, line: _Line) -> bool:
        """Reads, and asks again; whether that line has come to its end."""
        if not line.is_answered():
            return False
        now = time.perf_counter()
        self._taken.append(now - line.began)
        request = next(self._requests, None) if now < self._until else None
        if request is None:
            self._poll.unregister(line.socket)
            return True
        line.ask(request)
        return False
