"""`provisioner` with a store that takes little: `python cramped.py SLOW WAITING PATIENCE_S COMMIT_S serve …`.

How many units may wait, and how long whoever waits for them does, is as given; while the file SLOW exists,
every commit takes COMMIT_S seconds. The service has no seam for it: what is named here is replaced before the
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


class SlowConnection(sqlite3.Connection):
    slow: Path
    commit_s = 0.0

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        if sql == "COMMIT" and self.in_transaction and self.slow.exists():
            time.sleep(self.commit_s)
        return super().execute(sql, *parameters)


def connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(
        path, isolation_level=None, check_same_thread=False, timeout=5.0, factory=SlowConnection
    )


if __name__ == "__main__":
    slow, waiting, patience_s, commit_s, *words = sys.argv[1:]
    SlowConnection.slow, SlowConnection.commit_s = Path(slow), float(commit_s)
    writer.WAITING, writer.PATIENCE_S = int(waiting), float(patience_s)
    sqlite._connect = connect
    sys.argv = ["provisioner", *words]
    main()
