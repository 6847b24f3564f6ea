"""Live looks at a VM, taken only while somebody looks: its state, load, size and backups, for a few minutes.

Who looks never waits. A look gives what is known, with its times, and begins a sampling aside where the last
one is too old and none is under way. Nothing is kept in the store, and nothing is sampled for nobody.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from provisioner.engine import pauses
from provisioner.errors import UpstreamError
from provisioner.logs import Log
from provisioner.operation import State
from provisioner.operations.missing import was_missing
from provisioner.operations.vm import OFF, RUNNING
from provisioner.store import Store
from provisioner.store.verbs import Verbs
from provisioner.upstream import Upstream, VmConfig, VmStatus

log = Log(__name__)

STATUS_EVERY_MS = 3_000
SIZE_EVERY_MS = 60_000
BACKUPS_EVERY_MS = 20_000
STATE_HOLDS_MS = 30_000  # after so long nobody knows whether a VM still runs
KEPT_MS = 300_000  # samples that a plot shows, and what changes slowly
MOST_SAMPLES = 100
MOST_SERVICES = 300  # remembered at once, some kilobytes each; the one looked at longest ago is forgotten
_SUSPECT = "VM {} was missing from the provider's list: if it is there again, it may be somebody else's"
THREADS = 2  # beside the work, which has the other places for calls


@dataclass(frozen=True, slots=True)
class Sample:
    """One moment of a VM. `at` is in ms since the epoch, memory in bytes, the net in bytes a second.

    `cpu` is a share from 0 to 1; the rates are None where no earlier sample of the same run tells them.
    """

    at: int
    cpu: float
    mem: int
    mem_total: int
    net_in: float | None
    net_out: float | None


@dataclass(frozen=True, slots=True)
class Look:
    """What is known of a VM. Times are milliseconds since the epoch, None where nothing was seen lately.

    :param at: when `state`, `uptime_s` and the last sample were seen.
    :param state: the upstream's word; '' before the first look.
    :param is_running: None where the word says neither.
    :param backups: Unix times, newest first, as last listed; None before the first list.
    :param problem: why the last look failed, for the operator; '' where it did not.
    :param stands_still: why nothing is looked at (the names of `pauses.reasons`); empty while it is.
    """

    vmid: int | None = None
    at: int | None = None
    state: str = ""
    uptime_s: int | None = None
    samples: tuple[Sample, ...] = ()
    size: VmConfig | None = None
    size_at: int | None = None
    backups: tuple[int, ...] | None = None
    backups_at: int | None = None
    problem: str = ""
    stands_still: tuple[str, ...] = ()

    @property
    def is_running(self) -> bool | None:
        if self.state in OFF:
            return False
        return True if self.state == RUNNING else None


@dataclass(slots=True)
class _Watched:
    """What is remembered of one service's VM; `tried_at` is when the last sampling began, `done_at` when
    something was last done to it: what was seen before may have changed with it."""

    look: Look
    done_at: int = 0
    status: VmStatus | None = None
    samples: deque[Sample] = field(default_factory=lambda: deque(maxlen=MOST_SAMPLES))
    tried_at: int = -STATUS_EVERY_MS
    is_under_way: bool = False


class Looks:
    """Looks at VMs. `clock` gives milliseconds since the epoch.

    :param pool: what samples; threads of its own where none is given.
    """

    def __init__(
        self, store: Store, upstream: Upstream, clock: Callable[[], int], pool: Executor | None = None
    ) -> None:
        self._store = store
        self._upstream = upstream
        self._clock = clock
        self.pool = pool or ThreadPoolExecutor(THREADS, thread_name_prefix="look")
        self._watched: OrderedDict[tuple[str, str], _Watched] = OrderedDict()
        self._lock = threading.Lock()
        self._closed = False

    def look(self, billing: str, service_id: str) -> Look:
        """What is known of the service's VM now; a fresh sampling begins aside if it is time for one."""
        vmid, is_suspect, paused, done_at = self._store.read(
            lambda verbs: _subject(verbs, billing, service_id)
        )
        if vmid is None or is_suspect:
            self.forget(billing, service_id)
            return Look(problem=_SUSPECT.format(vmid) if is_suspect else "", stands_still=paused)
        key = (billing, service_id)
        with self._lock:
            watched = self._watched_now(key, vmid)
            watched.done_at = done_at
            begins = not paused and not watched.is_under_way and not self._closed and self._is_due(watched)
            if begins:
                watched.is_under_way, watched.tried_at = True, self._clock()
        if begins:
            self._begin(watched)
        with self._lock:
            seen = replace(watched.look, samples=tuple(watched.samples), stands_still=paused)
        return _lately(seen, self._clock())

    def forget(self, billing: str, service_id: str) -> None:
        """Nothing is remembered of the service's VM any more."""
        with self._lock:
            self._watched.pop((billing, service_id), None)

    def close(self) -> None:
        """Begins nothing more, and returns once what is under way has been answered."""
        with self._lock:
            self._closed = True
        self.pool.shutdown(wait=True, cancel_futures=True)

    def _watched_now(self, key: tuple[str, str], vmid: int) -> _Watched:
        watched = self._watched.get(key)
        if watched is None or watched.look.vmid != vmid:
            watched = self._watched[key] = _Watched(Look(vmid))
        self._watched.move_to_end(key)
        while len(self._watched) > MOST_SERVICES:
            self._watched.popitem(last=False)
        return watched

    def _is_due(self, watched: _Watched) -> bool:
        return self._clock() - watched.tried_at >= STATUS_EVERY_MS

    def _begin(self, watched: _Watched) -> None:
        try:
            self.pool.submit(self._sample, watched)
        except RuntimeError:  # it was closed meanwhile
            watched.is_under_way = False

    def _sample(self, watched: _Watched) -> None:
        try:
            for take in (self._take_status, self._take_size, self._take_backups):
                if self._closed:
                    return
                take(watched)
            self._keep(watched, problem="")
        except UpstreamError as error:
            self._keep(watched, problem=error.detail)
        except Exception:  # a mistake of ours must not end looking for ever
            log.exception("look_broke", vmid=watched.look.vmid)
            self._keep(watched, problem="an internal error; it is in the log")
        finally:
            watched.is_under_way = False

    def _take_status(self, watched: _Watched) -> None:
        status, now = self._upstream.status(_vmid(watched)), self._clock()
        before, since = watched.status, watched.look.at
        sample = _sample(status, now, before, since)
        with self._lock:
            watched.status = status
            watched.samples.append(sample)
            while watched.samples[0].at < now - KEPT_MS:
                watched.samples.popleft()
        self._keep(watched, at=now, state=status.state, uptime_s=status.uptime)

    def _take_size(self, watched: _Watched) -> None:
        if self._is_old(watched, watched.look.size_at, SIZE_EVERY_MS):
            self._keep(watched, size=self._upstream.config(_vmid(watched)), size_at=self._clock())

    def _take_backups(self, watched: _Watched) -> None:
        if self._is_old(watched, watched.look.backups_at, BACKUPS_EVERY_MS):
            backups = tuple(sorted(self._upstream.backups(_vmid(watched)), reverse=True))
            self._keep(watched, backups=backups, backups_at=self._clock())

    def _is_old(self, watched: _Watched, at: int | None, every_ms: int) -> bool:
        return at is None or at < watched.done_at or self._clock() - at >= every_ms

    def _keep(self, watched: _Watched, **seen: object) -> None:
        with self._lock:
            watched.look = replace(watched.look, **seen)  # type: ignore[arg-type]


def _lately(look: Look, now: int) -> Look:
    """Without what was seen too long ago: nobody had looked since."""
    samples = tuple(sample for sample in look.samples if sample.at >= now - KEPT_MS)
    look = replace(look, samples=samples)
    if look.at is not None and now - look.at > STATE_HOLDS_MS:
        look = replace(look, at=None, state="", uptime_s=None)
    if look.backups_at is not None and now - look.backups_at > KEPT_MS:
        look = replace(look, backups=None, backups_at=None)
    return look


def _subject(verbs: Verbs, billing: str, service_id: str) -> tuple[int | None, bool, tuple[str, ...], int]:
    """The service's VM, whether it may be somebody else's now, why nothing is looked at, and when something
    was last done to it (0: it is not)."""
    last = verbs.last_operation_of_service(billing, service_id)
    done_at = last.updated_at if last and last.state in (State.DELIVERING, State.SUCCEEDED) else 0
    vmid = verbs.vmid_of_service(billing, service_id)
    is_suspect = vmid is not None and was_missing(verbs, vmid)
    return vmid, is_suspect, tuple(pauses.reasons(verbs)), done_at


def _vmid(watched: _Watched) -> int:
    if watched.look.vmid is None:
        raise LookupError("there is no VM to look at")
    return watched.look.vmid


def _sample(status: VmStatus, now: int, before: VmStatus | None, since: int | None) -> Sample:
    """The counters count from the VM's start: their difference tells a rate only within one run, and one of
    long ago tells none of now."""
    rates: tuple[float | None, float | None] = (None, None)
    is_near = since is not None and since < now <= since + STATE_HOLDS_MS
    if before is not None and since is not None and is_near and before.uptime <= status.uptime:
        seconds, net_in, net_out = (now - since) / 1000, before.netin, before.netout
        if status.netin >= net_in and status.netout >= net_out:
            rates = ((status.netin - net_in) / seconds, (status.netout - net_out) / seconds)
    return Sample(now, min(max(status.cpu, 0.0), 1.0), status.mem, status.mem + status.memfree, *rates)
