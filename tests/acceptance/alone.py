"""`provisioner`, to which a database that was just started says who is there: `python alone.py serve …`.

So a node whose predecessor died ends its leases at once, as after the first minute.
"""

from __future__ import annotations

from provisioner.cli import main
from provisioner.store import postgres

if __name__ == "__main__":
    postgres.STARTED_S = 0.0
    main()
