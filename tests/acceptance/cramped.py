"""`provisioner` with a store that takes little: `python cramped.py STUCK WAITING PATIENCE_S serve …`.

How many units may wait, and how long whoever waits for them does, is as given; while the file STUCK exists,
no commit ends. The service has no seam for it: what is named here is replaced before the
command line starts.
"""

from __future__ import annotations

import sqlite3
import sys
import time
from pathlib import Path
from typing import Any

from provisioner.cli import main
from provisioner.store import sqlite, writer


class StuckConnection(sqlite3.Connection):
    stuck: Path

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        while sql == "COMMIT" and self.in_transaction and self.stuck.exists():
            time.sleep(0.01)
        return super().execute(sql, *parameters)


def connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(
        path, isolation_level=None, check_same_thread=False, timeout=5.0, factory=StuckConnection
    )


if __name__ == "__main__":
    stuck, waiting, patience_s, *words = sys.argv[1:]
    StuckConnection.stuck = Path(stuck)
    writer.WAITING, writer.PATIENCE_S = int(waiting), float(patience_s)
    sqlite._connect = connect
    sys.argv = ["provisioner", *words]
    main()
