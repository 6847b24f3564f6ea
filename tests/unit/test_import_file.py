"""The file of `services import`, as spreadsheets and people write it."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.engine.import_file import (
    COLUMNS,
    MOST_CHARACTERS,
    MOST_LINES,
    NEEDED,
    Line,
    options_of,
    read,
)
from provisioner.errors import RequestInvalid

HEADER = "billing,service_id,vmid,plan,options,ips,hostname,status,tell"
WHOLE = "shop,1001,4001,vps-s,cpu_cores=2 disk=20G,192.0.2.1 2001:db8::1,web1.example.com,suspended,no"


def line(cells: str, header: str = HEADER) -> Line:
    (found,) = read(f"{header}\n{cells}\n")
    return found


def refusal(text: str) -> str:
    with pytest.raises(RequestInvalid) as refused:
        read(text)
    return refused.value.detail


def test_whole_line_is_read() -> None:
    found = line(WHOLE)
    assert (found.number, found.billing, found.service_id, found.vmid) == (2, "shop", "1001", 4001)
    assert (found.tell, found.problems) == (False, ())
    link = found.link
    assert link is not None
    assert (link.vmid, link.plan, link.hostname, link.status) == (
        4001,
        "vps-s",
        "web1.example.com",
        "suspended",
    )
    assert link.options.given() == {"cpu_cores": 2, "disk": "20G"}
    assert link.ips == ("192.0.2.1", "2001:db8::1")


def test_what_is_left_out_is_the_usual() -> None:
    found = line("shop,1001,4001,vps-s", "billing,service_id,vmid,plan")
    assert found.link is not None
    assert found.link.model_dump(exclude_unset=True) == {"vmid": 4001, "plan": "vps-s", "options": {}}
    assert (found.link.status, found.tell) == ("active", True)


SAME = {
    "a byte order mark": f"\ufeff{HEADER}\n{WHOLE}\n",
    "Windows line ends": f"{HEADER}\r\n{WHOLE}\r\n",
    "old line ends": f"{HEADER}\r{WHOLE}\r",
    "no line end": f"{HEADER}\n{WHOLE}",
    "semicolons": f"{HEADER}\n{WHOLE}".replace(",", ";"),
    "semicolons in the addresses": f"{HEADER}\n{WHOLE}".replace("2.1 2001", "2.1;2001"),
    "semicolons in both": f"{HEADER}\n{WHOLE}".replace(",", ";").replace(
        "192.0.2.1 2001:db8::1", '"192.0.2.1;2001:db8::1"'
    ),
    "quotes": "\n".join(",".join(f'"{cell}"' for cell in row.split(",")) for row in (HEADER, WHOLE)),
    "capitals": f"{HEADER.upper()}\n{WHOLE.replace('suspended', 'Suspended').replace('no', 'NO')}",
    "spaces": f"{HEADER}\n{WHOLE}".replace(",", " , "),
    "columns without a name": f"{HEADER},,\n{WHOLE},,",
    "empty lines": f"{HEADER}\n{WHOLE}\n,,,,,,,,\n\n",
    "JSON": f"{HEADER}\n{WHOLE}".replace("cpu_cores=2 disk=20G", '"{""cpu_cores"": 2, ""disk"": ""20G""}"'),
}


@pytest.mark.parametrize("text", SAME.values(), ids=SAME)
def test_spreadsheets_write_it_in_many_ways(text: str) -> None:
    assert read(text) == [line(WHOLE)]


def test_columns_stand_in_any_order() -> None:
    columns = HEADER.split(",")[::-1]
    cells = WHOLE.split(",")[::-1]
    assert line(",".join(cells), ",".join(columns)) == line(WHOLE)


def test_line_is_numbered_as_an_editor_does() -> None:
    text = f'{HEADER}\n\n{WHOLE}\nshop,1002,4002,vps-s,"mem=1024\ndisk=20G"\n{WHOLE}\n'
    assert [found.number for found in read(text)] == [3, 4, 6]


WRONG = {
    "vmid is missing": ("vmid", ""),
    "vmid must be a positive integer": ("vmid", "4001.0"),
    "vmid must be a positive integer, not so large": ("vmid", "9" * 19),
    "service_id is missing": ("service_id", ""),
    "service_id must be 1 to 255": ("service_id", "a/b"),
    "billing is missing": ("billing", ""),
    "plan is missing": ("plan", ""),
    "options.mem must be an integer from 64": ("options", "mem=1"),
    "options.mem must be": ("options", "mem=2G"),
    "options.ram is no option": ("options", "ram=2048"),
    "options must be key=value words": ("options", "2048"),
    "options must be key=value words, each key once": ("options", "mem=1024 mem=2048"),
    "options must be key=value words or a JSON": ("options", '"{mem"'),
    "ips[1] must be an IPv4 or IPv6 address": ("ips", "192.0.2.1 192.0.2.256"),
    "hostname must be a host name": ("hostname", "web_1"),
    "status must be active or suspended": ("status", "Pending"),
    "tell must be yes or no": ("tell", "maybe"),
}


@pytest.mark.parametrize(("words", "cell"), WRONG.items(), ids=WRONG)
def test_mistake_is_told_with_its_column(words: str, cell: tuple[str, str]) -> None:
    cells = dict(zip(COLUMNS, WHOLE.split(","), strict=True)) | dict([cell])
    found = line(",".join(cells.values()))
    assert found.link is None
    assert words in "; ".join(found.problems)
    assert len(found.problems) == 1


def test_number_that_no_store_holds_is_no_vmid() -> None:
    assert line(f"shop,1001,{2**63},vps-s", "billing,service_id,vmid,plan").vmid is None


def test_all_mistakes_of_a_line_are_told_at_once() -> None:
    found = line(",1001,x,vps-s,ram=1,nowhere,web_1,gone,maybe,more")
    for word in ("billing", "vmid", "options.ram", "ips[0]", "hostname", "status", "tell", "more cells"):
        assert word in "; ".join(found.problems), word
    assert (found.service_id, found.vmid) == ("1001", None)


def test_cell_below_no_column_is_told() -> None:
    found = line("shop,1001,4001,vps-s,stray", "billing,service_id,vmid,plan,")
    assert "column 5" in "; ".join(found.problems)


HEADERS = {
    "unknown: memory": HEADER + ",memory",
    "missing: vmid, plan": "billing,service_id",
    "there twice: vmid": HEADER + ",vmid",
    "unknown: shop": WHOLE,
}


@pytest.mark.parametrize(("words", "header"), HEADERS.items(), ids=HEADERS)
def test_wrong_header_is_refused_by_name(words: str, header: str) -> None:
    told = refusal(f"{header}\n{WHOLE}\n")
    assert words in told
    assert all(name in told for name in NEEDED)


def test_every_missing_column_is_named() -> None:
    assert "missing: billing, service_id, vmid, plan" in refusal("ips\n")


def test_header_alone_is_no_file() -> None:
    assert "nothing below it" in refusal(f"{HEADER}\n,,,\n")


def test_open_quote_is_told_with_its_line() -> None:
    assert refusal(f'{HEADER}\n{WHOLE}\nshop,"1002\n').startswith("line 3: it is no CSV")


def test_size_is_bounded() -> None:
    assert "characters: split it" in refusal("x" * (MOST_CHARACTERS + 1))
    short = "billing,service_id,vmid,plan\n" + "shop,1001,4001,vps-s\n" * (MOST_LINES + 1)
    assert len(short) < MOST_CHARACTERS
    assert "lines: split it" in refusal(short)
    assert len(read(short.removesuffix("shop,1001,4001,vps-s\n"))) == MOST_LINES


@given(st.text(max_size=300))
def test_junk_is_refused_in_words(text: str) -> None:
    with pytest.raises(RequestInvalid):
        read(text)


CELLS = st.lists(st.lists(st.text(max_size=40) | st.integers().map(str), max_size=11), min_size=1, max_size=5)


@given(CELLS)
def test_junk_below_a_header_is_judged_line_by_line(rows: list[list[str]]) -> None:
    """Whatever stands in the cells: a line fits or says why it does not, and nothing else is raised."""
    text = io.StringIO()
    csv.writer(text).writerows([COLUMNS, *rows])
    if not any(cell.strip() for row in rows for cell in row):
        assert "nothing below it" in refusal(text.getvalue())
        return
    lines = read(text.getvalue())
    assert len(lines) == sum(any(cell.strip() for cell in row) for row in rows)
    assert all((found.link is None) == bool(found.problems) for found in lines)
    assert all(found.vmid is None or 0 < found.vmid < 2**63 for found in lines)


OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "cpu_cores": st.integers(1, 1024),
        "mem": st.integers(64, 4_194_304),
        "disk": st.sampled_from(["10G", "1T", "99999M"]),
        "ip_count": st.integers(1, 256),
    },
)


@given(OPTIONS, st.sampled_from([" ", ", ", ";"]))
def test_options_that_are_written_are_read(options: dict[str, int | str], between: str) -> None:
    """The words that an import proposes fit into the file."""
    assert options_of(between.join(f"{name}={value}" for name, value in options.items())) == options


@pytest.mark.parametrize("text", ["", "\ufeff", "\r\n \n"])
def test_empty_file_is_called_empty(text: str) -> None:
    assert refusal(text) == "the file is empty"
