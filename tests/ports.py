"""Ports for what a test starts, when another is to know the address before it listens."""

from __future__ import annotations

import random
import socket

_claims: list[socket.socket] = []


def free_port() -> int:
    """A free port that is given to nobody else.

    It is below the range that the system gives to others, who could take it before it is used; and while this
    process lives no other run or worker of these tests gets it: each holds a name of its own for it.
    """
    while True:
        port = random.randrange(20_000, 32_000)
        claim = socket.socket(socket.AF_UNIX)
        with socket.socket() as probe:
            try:
                claim.bind(f"\0provisioner-tests-{port}")
                probe.bind(("127.0.0.1", port))
            except OSError:
                claim.close()
                continue
        _claims.append(claim)
        return port
