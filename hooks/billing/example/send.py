#!/usr/bin/env python3
"""Sends one event: send.py WEBHOOK_ID < event.json

Ends with 0 (accepted), 1 (refused: a person must look) or 2 (no clear answer: run it again later, same id).
Reads PROVISIONER_URL, and PROVISIONER_SECRET or the file that PROVISIONER_SECRET_FILE names.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import sys
import time
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from urllib.parse import urlsplit

ACCEPTED, REFUSED, UNCLEAR = 0, 1, 2
TRIES = 4
LEAST_KEY_BYTES = 24
TIMEOUT_S = 10
FIRST_WAIT_S = float(os.environ.get("PROVISIONER_WAIT", "1"))  # doubles from try to try
PASSING = {408, 425, 429}  # and every 5xx


def key_of(secret: str) -> bytes:
    key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    if not secret.startswith("whsec_") or len(key) < LEAST_KEY_BYTES:
        raise ValueError("a secret is whsec_ and the base64 of at least 24 bytes")
    return key


def sign(secret: str, webhook_id: str, timestamp: int, body: bytes) -> str:
    content = b".".join((webhook_id.encode(), str(timestamp).encode(), body))
    return "v1," + base64.b64encode(hmac.digest(key_of(secret), content, hashlib.sha256)).decode()


def send(url: str, secret: str, webhook_id: str, body: bytes) -> int:
    """Posts an event until there is a clear answer: the id stays, time and signature are new at each try."""
    for number in range(TRIES):
        if number:
            time.sleep(FIRST_WAIT_S * 2 ** (number - 1))
        status, answer = post(url, secret, webhook_id, body)
        print(answer, file=sys.stdout if 200 <= status < 300 else sys.stderr)
        if 200 <= status < 300:
            return ACCEPTED
        if 0 < status < 500 and status not in PASSING:
            return REFUSED
    return UNCLEAR


def post(url: str, secret: str, webhook_id: str, body: bytes) -> tuple[int, str]:
    """One try; the status is 0 where no answer came. Redirects are not followed."""
    address = urlsplit(url)
    timestamp = int(time.time())
    headers = {
        "Content-Type": "application/json",
        "webhook-id": webhook_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": sign(secret, webhook_id, timestamp, body),
    }
    connect = HTTPSConnection if address.scheme == "https" else HTTPConnection
    connection = connect(address.netloc, timeout=TIMEOUT_S)
    try:
        connection.request("POST", address.path or "/", body, headers)
        answer = connection.getresponse()
        return answer.status, f"{answer.status} {answer.read(65536).decode(errors='replace')}"
    except (OSError, HTTPException) as error:
        return 0, f"no answer: {type(error).__name__}"
    finally:
        connection.close()


def secret_of_environment() -> str:
    """The newest secret: there may be older ones after it."""
    file = os.environ.get("PROVISIONER_SECRET_FILE")
    return (Path(file).read_text() if file else os.environ["PROVISIONER_SECRET"]).split()[0]


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    url, secret = os.environ["PROVISIONER_URL"], secret_of_environment()
    sys.exit(send(url, secret, sys.argv[1], sys.stdin.buffer.read()))
