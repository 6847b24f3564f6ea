"""RQ on a Redis that syncs each command."""

from __future__ import annotations

from redis import Redis
from rq import Queue

from bench.rivals import Place


class RqRedis:
    def __init__(self, place: Place) -> None:
        self._redis = Redis.from_url(place.redis_url)
        self._queue = Queue("rq-events", connection=self._redis)

    def keep(self, webhook_id: str, body: bytes) -> None:
        self._queue.enqueue(provision, webhook_id, body.decode(), result_ttl=0)

    def kept(self) -> int:
        return int(self._queue.count)

    def is_durable(self) -> bool:
        return syncs(self._redis)


def syncs(redis: Redis) -> bool:
    """Whether a command is on the disk before it is answered."""
    said = {**redis.config_get("appendonly"), **redis.config_get("appendfsync")}
    return said == {"appendonly": "yes", "appendfsync": "always"}


def provision(webhook_id: str, body: str) -> None:
    raise NotImplementedError("nothing is worked off while accepting is measured")


rival = RqRedis
