"""`provisioner` with leases of some seconds, so that a test sees them run out: `python hasty.py serve …`.

Calls in the tests take a tenth of a second: a lease is still far longer than what it is for.
"""

from __future__ import annotations

from provisioner.cli import main
from provisioner.engine import deliver
from provisioner.engine.advance import Advance

LEASE_MS = 4000

if __name__ == "__main__":
    deliver.LEASE_MS = LEASE_MS
    Advance._lease_ms = lambda self: LEASE_MS  # type: ignore[method-assign]
    main()
