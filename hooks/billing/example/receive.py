#!/usr/bin/env python3
"""Takes deliveries: a WSGI application, and a server to try it with: receive.py PORT

Keeps each delivery once, as a file in PROVISIONER_INBOX. In your billing system `keep` is one transaction
that inserts the webhook-id (unique) and updates the service; nothing else here needs to change.
Reads PROVISIONER_SECRET, or the file that PROVISIONER_SECRET_FILE names: one or more, newest first.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from wsgiref.simple_server import make_server

TOLERANCE_S = 300
LEAST_KEY_BYTES = 24  # a short or empty one would let anybody sign
MOST_BYTES = 1 << 20


def key_of(secret: str) -> bytes:
    key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    if not secret.startswith("whsec_") or len(key) < LEAST_KEY_BYTES:
        raise ValueError("a secret is whsec_ and the base64 of at least 24 bytes")
    return key


def is_authentic(
    secrets: Iterable[str], webhook_id: str, timestamp: str, signatures: str, body: bytes, now: float
) -> bool:
    """Whether one signature fits, over the raw bytes and in constant time, and the message is fresh.

    :param signatures: the header: items separated by spaces, each `v1,` and the signature's base64.
    """
    if not webhook_id or not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        return False
    if abs(now - int(timestamp)) > TOLERANCE_S:
        return False
    content = b".".join((webhook_id.encode("latin-1"), timestamp.encode(), body))
    fits = False
    for secret in secrets:
        expected = b"v1," + base64.b64encode(hmac.digest(key_of(secret), content, hashlib.sha256))
        for given in signatures.split(" "):
            fits |= hmac.compare_digest(expected, given.encode("latin-1"))
    return fits


def keep(inbox: Path, webhook_id: str, body: bytes) -> bool:
    """Keeps a delivery under its id; False where it was kept before. It is on the disk when this returns.

    The file may hold a password: only its owner may read it. Empty it once its content is where it belongs,
    and leave it there, so that the same id is known again.
    """
    place = inbox / f"{hashlib.sha256(webhook_id.encode('latin-1')).hexdigest()}.json"
    beside = place.with_suffix(f".{os.getpid()}.{time.monotonic_ns()}")
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(beside, place)  # unlike a rename, never over an existing one
    except FileExistsError:
        return False
    finally:
        beside.unlink()
    folder = os.open(inbox, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)
    return True


def receive(environ: dict[str, Any]) -> str:
    """The status for one request. Any 2xx means: it is kept, do not send it again."""
    if environ["REQUEST_METHOD"] != "POST":
        return "405 Method Not Allowed"
    size = environ.get("CONTENT_LENGTH") or ""
    if not (size.isascii() and size.isdigit()) or int(size) > MOST_BYTES:
        return "413 Content Too Large"
    body = environ["wsgi.input"].read(int(size))
    id_, timestamp, signatures = (
        environ.get(f"HTTP_WEBHOOK_{name}", "") for name in ("ID", "TIMESTAMP", "SIGNATURE")
    )
    if not is_authentic(secrets_of_environment(), id_, timestamp, signatures, body, time.time()):
        return "401 Unauthorized"
    try:
        json.loads(body)
    except ValueError:
        return "400 Bad Request"
    keep(Path(os.environ["PROVISIONER_INBOX"]), id_, body)
    return "204 No Content"


def secrets_of_environment() -> list[str]:
    file = os.environ.get("PROVISIONER_SECRET_FILE")
    return (Path(file).read_text() if file else os.environ["PROVISIONER_SECRET"]).split()


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    start_response(receive(environ), [("Content-Length", "0")])
    return [b""]


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    with make_server("127.0.0.1", int(sys.argv[1]), application) as server:
        server.serve_forever()
