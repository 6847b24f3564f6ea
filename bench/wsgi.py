"""One contestant as a WSGI application, and in a process of its own on the server of `provisioner serve`.

Which one it is stands in the environment, because the servers that this one is compared with are programs of
their own. `python -m bench.wsgi PORT` serves until it is ended.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import time
from base64 import b64encode
from collections.abc import Callable
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

from flask import Flask, Response, request

from bench.rivals import Place, Rival
from provisioner import app as wiring
from provisioner.cli.invocation import Invocation
from provisioner.config import FreshSecrets, starter
from provisioner.errors import SignatureInvalid
from provisioner.signing import Signer
from provisioner.web import create_app
from provisioner.web.server import THREADS, Serving
from provisioner.web.webhooks import EVENTS

VARIABLE = "BENCH_CONTESTANT"
SECRET = "whsec_" + b64encode(b"of the bench, and of nobody else").decode()
NO_OP, VERIFIES, OURS = "no_op", "verifies", "ours"
IN_LOOP = "verifies_in_loop"  # as `VERIFIES`, without a thread, as ours
RIVALS = (
    "sqlite_per_request",
    "sqlite_per_thread",
    "huey_sqlite",
    "celery_redis",
    "rq_redis",
    "procrastinate_postgres",
)


def environment(name: str, place: Place) -> dict[str, str]:
    """What a process must be told in order to be this contestant."""
    said = {"name": name, **asdict(place), "folder": str(place.folder)}
    return {**os.environ, VARIABLE: json.dumps(said)}


def made() -> Flask:
    """The contestant that the environment names."""
    said = _said()
    name, place = said.pop("name"), Place(**{**said, "folder": Path(said["folder"])})
    if name == OURS:
        return ours(place)
    return no_op() if name == NO_OP else receiver(keeping(name, place))


def brief() -> tuple[str, ...]:
    """As `serve` has it for ours; a view that somebody else writes waits in its thread."""
    return (EVENTS,) if _said()["name"] in (OURS, IN_LOOP) else ()


def _said() -> dict[str, str]:
    said: dict[str, str] = json.loads(os.environ[VARIABLE])
    return said


def rival(name: str, place: Place) -> Rival:
    """One of `RIVALS`."""
    found: Rival = import_module(f"bench.rivals.{name}").rival(place)
    return found


def keeping(name: str, place: Place) -> Callable[[str, bytes], None]:
    return (lambda webhook_id, body: None) if name in (VERIFIES, IN_LOOP) else rival(name, place).keep


def no_op() -> Flask:
    app = Flask("bench")

    @app.post("/webhooks/shop")
    def receive() -> Response:
        return Response('{"ok": true}', 202, mimetype="application/json")

    return app


def receiver(keep: Callable[[str, bytes], None]) -> Flask:
    """Verifies the signature, keeps the event, answers 202."""
    app, signer = Flask("bench"), Signer([SECRET])

    @app.post("/webhooks/shop")
    def receive() -> Response:
        body = request.get_data(cache=False)
        try:
            webhook_id = signer.verify(dict(request.headers), body, int(time.time()))
        except SignatureInvalid:
            return Response('{"ok": false}', 401, mimetype="application/json")
        keep(webhook_id, body)
        return Response('{"ok": true}', 202, mimetype="application/json")

    return app


def ours(place: Place) -> Flask:
    """The service as `serve` wires it, its settings and logs as `serve` has them; nothing is worked off."""
    config = place.folder / "config.toml"
    if not config.exists():
        config.write_text(starter(FreshSecrets("an-admin-token-of-the-bench", SECRET), upstream_token="none"))
    settings = Invocation(config).settings(log_level="info")
    return create_app(wiring.surfaces(wiring.build(settings)))


def main() -> None:
    serving = Serving(made(), f"127.0.0.1:{sys.argv[1]}", THREADS, brief=brief())
    gc.freeze()  # as `serve` does
    serving.start()
    signal.pause()


if __name__ == "__main__":
    main()
