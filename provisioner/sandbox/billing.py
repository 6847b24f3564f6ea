"""A stub billing system of the platform `standard`: it takes deliveries, and can be made not to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Self

from provisioner import signing
from provisioner.errors import SignatureInvalid
from provisioner.sandbox.clock import wall_clock
from provisioner.sandbox.wire import Answer, Exchange, Listener

PATH = "/provisioning"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One try of one delivery. What may hold a password never shows in a repr.

    `type` and `data` are empty where the body has none, `received_at` is in ms since the epoch, `accepted`
    says whether it was answered 2xx, `status` is None where the connection was dropped.
    """

    webhook_id: str
    type: str
    data: Mapping[str, Any] = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    received_at: int
    status: int | None

    @property
    def accepted(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


@dataclass(frozen=True, slots=True)
class _Plan:
    """How the next tries are answered: `times` 0 for all to come, `status` None for no answer."""

    status: int | None = 204
    times: int = 0
    retry_after: float | str | None = None


class BillingStub:
    """Takes deliveries at `callback_url` (contract, section 4) and remembers every try.

    :param secrets: of the billing system, `whsec_…`; any of them verifies.
    :param port: 0 for any free one.
    :param clock: the time in milliseconds since the epoch, UTC.
    :raises ValueError: for a secret that is none.
    :raises OSError: if the port is taken.
    """

    def __init__(self, secrets: Sequence[str], port: int = 0, clock: Callable[[], int] = wall_clock) -> None:
        self._signer = signing.Signer(secrets)
        self._clock = clock
        self._change = threading.Condition()
        self._deliveries: list[Delivery] = []
        self._plan = _Plan()
        self._slow_s = 0.0
        self._listener = Listener(self._serve, port)
        self._listener.come_up()

    @property
    def callback_url(self) -> str:
        return self._listener.url + PATH

    @property
    def deliveries(self) -> list[Delivery]:
        """All tries so far, oldest first, those that were refused or dropped too."""
        with self._change:
            return list(self._deliveries)

    def answer_with(self, status: int, times: int = 0, retry_after: float | str | None = None) -> None:
        """Answers the next tries so; afterwards, or after `answer_with(204)`, all is well again.

        :param times: how many tries; 0 for all to come.
        :param retry_after: the Retry-After header: seconds or an HTTP date.
        """
        self._set(_Plan(status, times, retry_after))

    def drop(self, times: int = 1) -> None:
        """Takes the next tries, then closes the connection without an answer; 0 for all to come."""
        self._set(_Plan(None, times))

    def slow(self, seconds: float) -> None:
        """From now on waits so long before each answer; 0 ends it."""
        with self._change:
            self._slow_s = seconds

    def go_down(self) -> None:
        """Refuses connections and cuts those it has."""
        self._listener.go_down()

    def come_up(self) -> None:
        """Listens again, on the same port."""
        self._listener.come_up()

    def wait_for(self, wanted: int | Callable[[Delivery], bool], timeout_s: float = 10.0) -> list[Delivery]:
        """Waits for so many tries, or for one that satisfies the predicate.

        :return: all tries, or those that satisfy it.
        :raises TimeoutError: if they do not come; it says what came.
        """
        least, wants = (wanted, _any) if isinstance(wanted, int) else (1, wanted)
        found: list[Delivery] = []

        def enough() -> bool:
            found[:] = [delivery for delivery in self._deliveries if wants(delivery)]
            return len(found) >= least

        with self._change:
            if not self._change.wait_for(enough, timeout_s):
                came = ", ".join(f"{each.type} ({each.status})" for each in self._deliveries)
                raise TimeoutError(f"within {timeout_s} s came only: {came or 'nothing'}")
        return found

    def close(self) -> None:
        self._listener.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _set(self, plan: _Plan) -> None:
        with self._change:
            self._plan = plan

    def _serve(self, exchange: Exchange) -> None:
        if (exchange.method, exchange.path) != ("POST", PATH):
            exchange.send(Answer.page(404))
            return
        received_at = self._clock()
        answer = self._judge(exchange, received_at // 1000)
        # Noted before it is answered: whoever has the answer finds the delivery here.
        self._note(_delivery(exchange, received_at, answer.status if answer else None))
        exchange.wait(self._slow_s)
        if answer is None:
            exchange.drop()
        else:
            exchange.send(answer)

    def _judge(self, exchange: Exchange, now_s: int) -> Answer | None:
        """The answer, None for none; what is not signed or not JSON uses no planned answer up."""
        try:
            self._signer.verify(exchange.headers, exchange.body, now_s)
        except SignatureInvalid as problem:
            return _error(401, problem.code, problem.public)
        if not _parsed(exchange.body):
            return _error(400, "malformed", "the body is no JSON object")
        plan = self._next()
        if plan.status is None:
            return None
        headers = {} if plan.retry_after is None else {"Retry-After": str(plan.retry_after)}
        return Answer(plan.status, headers=headers)

    def _next(self) -> _Plan:
        """The plan for this try, which is then used up by one."""
        with self._change:
            plan = self._plan
            if plan.times == 1:
                self._plan = _Plan()
            elif plan.times:
                self._plan = replace(plan, times=plan.times - 1)
            return plan

    def _note(self, delivery: Delivery) -> None:
        with self._change:
            self._deliveries.append(delivery)
            self._change.notify_all()


def _any(_: Delivery) -> bool:
    return True


def _error(status: int, code: str, message: str) -> Answer:
    return Answer.json(status, {"error": {"code": code, "message": message}})


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _delivery(exchange: Exchange, received_at: int, status: int | None) -> Delivery:
    content = _parsed(exchange.body)
    data = content.get("data")
    return Delivery(
        webhook_id=exchange.headers.get(signing.ID, ""),
        type=str(content.get("type", "")),
        data=data if isinstance(data, dict) else {},
        headers=exchange.headers,
        body=exchange.body,
        received_at=received_at,
        status=status,
    )
