"""Writes the parts of the documentation that the code already says: every setting and every call.

`make docs` runs it; a test holds the pages to it. What stands outside the markers is written by hand.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any, cast

from provisioner.web.api import calls
from provisioner.web.auth import Need

HERE = Path(__file__).parent
EXAMPLE = HERE.parent / "config.example.toml"
ROLES = {Need.LOOK: "read", Need.WORK: "support", Need.DECIDE: "admin"}
_KEY = re.compile(r"(?P<key>[\w\"]+) = (?P<value>.*?)(?:\s+# (?P<words>.*))?")
_MORE = re.compile(r"\s+# (?P<words>.*)")
_TABLE = re.compile(r"\[(?P<table>[^\]]+)\](?:\s+# (?P<words>.*))?")


def settings() -> str:
    """A section for each table of config.example.toml, with its keys, defaults and words."""
    lines: list[str] = []
    above: list[str] = []  # whole lines of words, which are about the key below them
    for line in EXAMPLE.read_text("utf-8").splitlines():
        if line.startswith("# "):
            above.append(line.removeprefix("# "))
        elif table := _TABLE.fullmatch(line):
            words = _cell(table["words"] or "").capitalize()
            lines += ["", f"### `[{table['table']}]`", "", *([f"{words}.", ""] if words else [])]
            lines += ["| key | value shown | |", "|---|---|---|"]
            above = []
        elif key := _KEY.fullmatch(line):
            words = " ".join([*above, key["words"] or ""])
            lines.append(f"| `{key['key']}` | `{_cell(key['value'])}` | {_cell(words)} |")
            above = []
        elif (more := _MORE.fullmatch(line)) and lines and lines[-1].endswith(" |"):
            lines[-1] = f"{lines[-1].removesuffix(' |')} {_cell(more['words'])} |"
    return "\n".join(lines).strip()


def api() -> str:
    """A row for each call of the admin API, with what it does and which role it takes."""
    surfaces = cast("Any", None)  # the list of calls needs none; answering them would
    rows = [
        f"| `{call.method}` | `{call.path}` | {_cell(call.does)} | {ROLES[call.needs]} |"
        for call in calls(surfaces)
    ]
    return "\n".join(["| | call | does | least role |", "|---|---|---|---|", *rows])


PARTS = {"settings.md": settings, "api.md": api}


def written(page: str) -> str:
    """The page as it should be."""
    text = (HERE / page).read_text("utf-8")
    begin, end = "<!-- reference -->\n", "\n<!-- /reference -->"
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}{PARTS[page]()}{end}{after}"


def _cell(text: str) -> str:
    return text.strip().replace("|", "\\|")


if __name__ == "__main__":
    for name in PARTS:
        (HERE / name).write_text(written(name), "utf-8")
    sys.exit(0)
