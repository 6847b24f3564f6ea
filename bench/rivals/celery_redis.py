"""Celery on a Redis that syncs each command; no result is kept, and each thread has its connection."""

from __future__ import annotations

from celery import Celery
from redis import Redis

from bench.rivals import Place
from bench.rivals.rq_redis import syncs

QUEUE = "celery-events"


class CeleryRedis:
    def __init__(self, place: Place) -> None:
        self._redis = Redis.from_url(place.redis_url)
        self._celery = Celery("shop", broker=place.redis_url, set_as_current=False)
        self._celery.conf.update(
            broker_pool_limit=place.threads,
            task_ignore_result=True,
            task_default_queue=QUEUE,
        )
        self._provision = self._celery.task(name="provision")(_provision)

    def keep(self, webhook_id: str, body: bytes) -> None:
        self._provision.delay(webhook_id, body.decode())

    def kept(self) -> int:
        return int(self._redis.llen(QUEUE))

    def is_durable(self) -> bool:
        return syncs(self._redis)


def _provision(webhook_id: str, body: str) -> None:
    raise NotImplementedError("nothing is worked off while accepting is measured")


rival = CeleryRedis
