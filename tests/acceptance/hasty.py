"""`provisioner` with leases of some seconds, so that a test sees them run out: `python hasty.py serve …`.

With `timeout = 1` a lease is still longer than what it is for: a step makes a handful of calls.
"""

from __future__ import annotations

from provisioner.cli import main
from provisioner.engine import deliver
from provisioner.engine.advance import Advance

LEASE_MS = 7000

if __name__ == "__main__":
    deliver.LEASE_MS = LEASE_MS
    Advance._lease_ms = lambda self: LEASE_MS  # type: ignore[method-assign]
    main()
