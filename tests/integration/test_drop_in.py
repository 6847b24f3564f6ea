"""What becomes of the files of a drop-in in a billing system's tree."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import pytest

from provisioner import drop_in as finding
from provisioner.cli import run
from provisioner.drop_in import DropIn, drop_ins, hooks_folder
from provisioner.drop_in.install import Result, install
from provisioner.drop_in.tree import Tree
from provisioner.errors import InstallRefused

ROOT = Path(__file__).parents[2]
NOBODY = 65534
OWN = "modules/servers/ours"
ENTRY, INNER, PROGRAM = f"{OWN}/ours.php", f"{OWN}/lib/Event.php", f"{OWN}/flush.sh"
NOTE = f"{OWN}/.ht-provisioner-acme.json"
FIRST = {ENTRY: "<?php // one", INNER: "<?php // event", PROGRAM: "#!/bin/sh"}


class Bench:
    """A drop-in here, and a billing system's tree that it goes into."""

    def __init__(self, folder: Path) -> None:
        self.hooks = folder / "hooks"
        self.source = self.hooks / "billing" / "acme"
        self.tree = folder / "tree"
        (self.tree / "modules" / "servers").mkdir(parents=True)
        self.release(FIRST)

    def release(self, files: dict[str, str]) -> None:
        """Makes these the drop-in's files."""
        subprocess.run(["rm", "-rf", str(self.source)], check=True)
        described = f'folder = "{OWN}"\nnext_step = "press Test Connection"\n'
        for path, text in {"drop-in.toml": described, "README.md": "# Acme", **files}.items():
            (self.source / path).parent.mkdir(parents=True, exist_ok=True)
            (self.source / path).write_text(text)
        if PROGRAM in files:
            (self.source / PROGRAM).chmod(0o755)

    @property
    def drop_in(self) -> DropIn:
        return drop_ins(self.hooks)["acme"]

    def install(self, *, dry_run: bool = False) -> dict[str, str]:
        """The results by path."""
        return {each.path: each.result.value for each in install(self.drop_in, self.tree, dry_run=dry_run)}

    def writes(self) -> dict[Path, tuple[int, int, int]]:
        """What changes with each write, and with no reading."""
        stats = {file: file.stat() for file in self.tree.rglob("*")}
        return {file: (stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns) for file, stat in stats.items()}

    def there(self) -> dict[str, str]:
        """The files of the tree, without the note."""
        files = (file for file in sorted(self.tree.rglob("*")) if file.is_file())
        found = {file.relative_to(self.tree).as_posix(): file.read_text() for file in files}
        found.pop(NOTE, None)
        return found


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@contextmanager
def as_nobody() -> Iterator[None]:
    """Folders' modes do not bind root, and containers run tests as root."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


# Files


def test_new_files_are_copied(bench: Bench) -> None:
    assert bench.install() == dict.fromkeys(sorted(FIRST), "copied")
    assert bench.there() == FIRST


def test_pages_and_bytecode_stay_here(bench: Bench) -> None:
    bench.release({**FIRST, f"{OWN}/NOTES.md": "notes", f"{OWN}/__pycache__/x.pyc": "bytes"})
    assert set(bench.install()) == set(FIRST)


def test_modes_do_not_depend_on_the_umask(bench: Bench) -> None:
    before = os.umask(0o077)
    try:
        bench.install()
    finally:
        os.umask(before)
    modes = {path: (bench.tree / path).stat().st_mode & 0o777 for path in (*FIRST, NOTE, OWN, f"{OWN}/lib")}
    assert modes == {ENTRY: 0o644, INNER: 0o644, PROGRAM: 0o755, NOTE: 0o644, OWN: 0o755, f"{OWN}/lib": 0o755}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_root_gives_them_to_the_owner_of_their_folder(bench: Bench) -> None:
    os.chown(bench.tree / "modules" / "servers", NOBODY, NOBODY - 1)
    bench.install()
    made = [bench.tree / path for path in (*FIRST, NOTE, OWN, f"{OWN}/lib")]
    assert {(file.stat().st_uid, file.stat().st_gid) for file in made} == {(NOBODY, NOBODY - 1)}


def test_second_install_writes_nothing(bench: Bench) -> None:
    bench.install()
    before = bench.writes()
    assert set(bench.install().values()) == {"unchanged"}
    assert bench.writes() == before


def test_next_version_updates_what_nobody_changed(bench: Bench) -> None:
    bench.install()
    bench.release({**FIRST, ENTRY: "<?php // two"})
    assert bench.install() == {ENTRY: "updated", INNER: "unchanged", PROGRAM: "unchanged"}
    assert bench.there()[ENTRY] == "<?php // two"


def test_update_never_writes_into_a_live_file(bench: Bench) -> None:
    bench.install()
    with (bench.tree / ENTRY).open() as being_read:
        bench.release({**FIRST, ENTRY: "<?php // two"})
        bench.install()
        assert being_read.read() == "<?php // one"


def test_changed_file_is_kept(bench: Bench) -> None:
    bench.install()
    (bench.tree / ENTRY).write_text("<?php // mine")
    bench.release({**FIRST, ENTRY: "<?php // two"})
    for _ in range(2):
        assert bench.install()[ENTRY] == "kept"
    assert bench.there()[ENTRY] == "<?php // mine"


def test_kept_file_says_how_to_see_the_difference(bench: Bench) -> None:
    bench.install()
    (bench.tree / ENTRY).write_text("<?php // mine\n")
    note = next(each.note for each in install(bench.drop_in, bench.tree) if each.path == ENTRY)
    command = shlex.split(note.partition("see: ")[2])
    shown = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "+<?php // mine" in shown.stdout
    assert "-<?php // one" in shown.stdout


def test_kept_file_put_back_is_updated(bench: Bench) -> None:
    bench.install()
    (bench.tree / ENTRY).write_text("<?php // mine")
    bench.release({**FIRST, ENTRY: "<?php // two"})
    bench.install()
    (bench.tree / ENTRY).write_text("<?php // one")
    assert bench.install()[ENTRY] == "updated"


def test_file_that_was_deleted_there_comes_back(bench: Bench) -> None:
    bench.install()
    (bench.tree / INNER).unlink()
    assert bench.install()[INNER] == "copied"
    assert bench.there() == FIRST


def test_file_that_is_gone_here_is_removed(bench: Bench) -> None:
    bench.install()
    bench.release({ENTRY: FIRST[ENTRY], PROGRAM: FIRST[PROGRAM]})
    assert bench.install()[INNER] == "removed"
    assert not (bench.tree / OWN / "lib").exists()
    assert INNER not in bench.install()


def test_removed_file_leaves_its_folder_to_others(bench: Bench) -> None:
    bench.install()
    (bench.tree / OWN / "lib" / "mine.php").write_text("mine")
    bench.release({ENTRY: FIRST[ENTRY]})
    assert bench.install()[INNER] == "removed"
    assert bench.there() == {ENTRY: FIRST[ENTRY], f"{OWN}/lib/mine.php": "mine"}


def test_file_gone_on_both_sides_is_forgotten(bench: Bench) -> None:
    bench.install()
    (bench.tree / INNER).unlink()
    bench.release({ENTRY: FIRST[ENTRY], PROGRAM: FIRST[PROGRAM]})
    assert bench.install() == {ENTRY: "unchanged", PROGRAM: "unchanged"}


def test_changed_file_that_is_gone_here_is_kept(bench: Bench) -> None:
    bench.install()
    (bench.tree / INNER).write_text("mine")
    bench.release({ENTRY: FIRST[ENTRY]})
    for _ in range(2):
        assert bench.install()[INNER] == "kept"
    assert bench.there()[INNER] == "mine"


def test_file_put_there_by_hand_is_kept(bench: Bench) -> None:
    (bench.tree / OWN).mkdir()
    (bench.tree / ENTRY).write_text("by hand")
    assert bench.install() == {ENTRY: "kept", INNER: "copied", PROGRAM: "copied"}
    assert bench.there()[ENTRY] == "by hand"


def test_dry_run_writes_nothing(bench: Bench) -> None:
    assert bench.install(dry_run=True) == dict.fromkeys(sorted(FIRST), "copied")
    assert bench.there() == {}
    bench.install()
    bench.release({ENTRY: "<?php // two"})
    before = bench.writes()
    assert bench.install(dry_run=True) == {ENTRY: "updated", INNER: "removed", PROGRAM: "removed"}
    assert bench.writes() == before


def test_what_others_need_is_there_first(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.install()
    new, top = f"{OWN}/lib/deep/New.php", f"{OWN}/a.php"
    bench.release({ENTRY: "<?php // two", INNER: "<?php // event two", new: "<?php // new", top: "<?php"})
    done: list[str] = []
    put, remove = Tree.put, Tree.remove
    monkeypatch.setattr(Tree, "put", lambda tree, name, path: (done.append(path), put(tree, name, path))[1])
    monkeypatch.setattr(Tree, "remove", lambda tree, path: (done.append(path), remove(tree, path))[1])
    bench.install()
    assert done == [new, top, INNER, ENTRY, NOTE, PROGRAM]


# The note


@pytest.mark.parametrize("note", ["", "{", "[]", '{"sha256": 1}', '{"sha256": ["ab", "cd"]}', "\\udcff"])
def test_note_that_is_none_overwrites_nothing(bench: Bench, note: str) -> None:
    bench.install()
    (bench.tree / NOTE).write_bytes(note.encode("unicode_escape"))
    bench.release({ENTRY: "<?php // two"})
    assert bench.install() == {ENTRY: "kept"}
    assert set(bench.there()) == set(FIRST)


@pytest.mark.parametrize("path", ["configuration.php", f"{OWN}/../configuration.php", "/configuration.php"])
def test_note_names_no_file_of_others(bench: Bench, path: str) -> None:
    bench.install()
    others = bench.tree / path.removeprefix("/")
    others.write_text("<?php // one")
    note = json.loads((bench.tree / NOTE).read_text())
    note["sha256"][path] = note["sha256"][ENTRY]
    (bench.tree / NOTE).write_text(json.dumps(note))
    assert set(bench.install()) == set(FIRST)
    assert others.exists()


def test_note_has_no_more_than_paths_and_digests(bench: Bench) -> None:
    bench.install()
    note = json.loads((bench.tree / NOTE).read_text())
    assert set(note) == {"version", "sha256"}
    assert set(note["sha256"]) == set(FIRST)
    assert Path(NOTE).name.startswith(".ht")  # what web servers refuse to serve as they come


# What is refused


def refused(bench: Bench) -> str:
    with pytest.raises(InstallRefused) as raised:
        bench.install()
    return str(raised.value)


def test_other_tree_is_refused(bench: Bench) -> None:
    (bench.tree / "modules" / "servers").rmdir()
    assert "there is no folder modules/servers in it" in refused(bench)
    assert bench.there() == {}


LINKS: dict[str, Callable[[Path], Path]] = {
    "the platform's folder": lambda tree: tree / "modules" / "servers",
    "the drop-in's folder": lambda tree: tree / OWN,
    "an inner folder": lambda tree: tree / OWN / "lib",
    "a file": lambda tree: tree / ENTRY,
    "the note": lambda tree: tree / NOTE,
}


@pytest.mark.parametrize("place", LINKS)
@pytest.mark.parametrize("to", ["../outside", "/tmp/no-such-place-of-ours"])
def test_link_out_of_the_tree_is_refused(bench: Bench, place: str, to: str, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    link = LINKS[place](bench.tree)
    if link.is_dir():
        link.rmdir()
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(outside if to == "../outside" else to)
    words = refused(bench)
    assert "leads out of" in words
    assert str(link.relative_to(bench.tree)) in words
    assert list(outside.iterdir()) == []
    assert bench.there() == {}


def test_link_inside_the_tree_is_followed(bench: Bench) -> None:
    (bench.tree / "deployed").mkdir()
    (bench.tree / OWN).symlink_to(bench.tree / "deployed")
    bench.install()
    bench.release({**FIRST, ENTRY: "<?php // two"})
    assert bench.install()[ENTRY] == "updated"
    assert (bench.tree / OWN).is_symlink()
    assert (bench.tree / "deployed" / "ours.php").read_text() == "<?php // two"


def test_link_that_appears_later_is_no_way_out(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look and the write somebody puts a link there; what was seen is then no folder any more."""
    outside = tmp_path / "outside"
    outside.mkdir()
    tree = Tree(bench.tree)
    (bench.tree / OWN).symlink_to(outside)
    monkeypatch.setattr(tree, "_place", PurePosixPath)
    with pytest.raises(InstallRefused):
        tree.stage(ENTRY, b"<?php", 0o644)
    with pytest.raises(InstallRefused):
        tree.digest(ENTRY)
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_what_is_no_file_is_refused(bench: Bench, kind: str) -> None:
    (bench.tree / OWN).mkdir()
    (bench.tree / ENTRY).mkdir() if kind == "folder" else os.mkfifo(bench.tree / ENTRY)
    assert "ours.php is no ordinary file: move it away" in refused(bench)


def test_file_in_a_folders_place_is_refused(bench: Bench) -> None:
    (bench.tree / OWN).write_text("a file")
    assert "Not a directory" in refused(bench)


def test_folder_that_cannot_be_written_is_refused() -> None:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own are closed to nobody
        Path(folder).chmod(0o755)
        bench = Bench(Path(folder))
        bench.install()
        bench.release({**FIRST, ENTRY: "<?php // two"})
        (bench.tree / OWN).chmod(0o555)
        with as_nobody():
            words = refused(bench)
        (bench.tree / OWN).chmod(0o755)
        assert words == f"{bench.tree / OWN} is not writable: run this as its owner, or as root"
        assert bench.there() == FIRST


def test_full_disk_changes_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.install()
    bench.release({path: f"{text} two" for path, text in FIRST.items()})
    fsync, left = os.fsync, iter([True, True, False])

    def full(descriptor: int) -> None:
        if not next(left):
            raise OSError(28, "No space left on device")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    assert "No space left on device" in refused(bench)
    assert bench.there() == FIRST


# The command


@pytest.fixture
def shipped(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """The bench's drop-in is the one that this installation has."""
    monkeypatch.setattr(finding, "hooks_folder", lambda: bench.hooks)
    return bench


def told(capsys: pytest.CaptureFixture[str], bench: Bench, *words: str) -> list[str]:
    assert run(["hooks", "install", "acme", "--to", str(bench.tree), *words]) == 0
    return capsys.readouterr().out.splitlines()


def test_command_says_what_became_of_each_file(shipped: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    assert told(capsys, shipped) == [
        f"copied     {PROGRAM}",
        f"copied     {INNER}",
        f"copied     {ENTRY}",
        "Next: press Test Connection.",
    ]
    (shipped.tree / ENTRY).write_text("mine")
    kept = told(capsys, shipped)[2]
    assert kept.startswith(f"kept       {ENTRY}  (changed there, see: diff -u ")


def test_dry_run_says_what_it_would_do(shipped: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    said = told(capsys, shipped, "--dry-run")
    assert said[0] == f"would be copied     {PROGRAM}"
    assert said[-1] == "Nothing was written: --dry-run."
    assert shipped.there() == {}


def test_command_speaks_json(shipped: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    said = json.loads("\n".join(told(capsys, shipped, "--json")))
    items = [{"path": path, "result": "copied", "note": ""} for path in sorted(FIRST)]
    assert said == {"platform": "acme", "dry_run": False, "items": items, "next": "press Test Connection"}


def test_unknown_platform_is_told_which_there_are(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(["hooks", "install", "acme", "--to", str(tmp_path)]) == 2
    assert "there is no drop-in for acme: there are example, whmcs" in capsys.readouterr().err


def test_missing_folder_is_wrong_use(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(["hooks", "install", "example", "--to", str(tmp_path / "none")]) == 2
    assert "does not exist" in capsys.readouterr().err


def test_refusal_is_one_sentence(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(["hooks", "install", "whmcs", "--to", str(tmp_path)]) == 1
    said = capsys.readouterr()
    assert said.err == (
        f"Error: {tmp_path} is not the tree of a whmcs: there is no folder modules/servers in it; "
        "--to names the folder that holds modules\n"
    )
    assert said.out == ""


def test_list_names_every_platform(shipped: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["hooks", "list", "--json"]) == 0
    (item,) = json.loads(capsys.readouterr().out)["items"]
    assert item == {"platform": "acme", "folder": OWN, "page": str(shipped.source / "README.md")}
    assert run(["hooks", "list"]) == 0
    assert "acme" in capsys.readouterr().out


# What is shipped


def test_hooks_are_found_in_a_wheel_and_in_a_clone(tmp_path: Path) -> None:
    package = tmp_path / "provisioner"
    package.mkdir()
    assert hooks_folder(package) == tmp_path / "hooks"
    (package / "_hooks").mkdir()
    assert hooks_folder(package) == package / "_hooks"
    assert hooks_folder() == ROOT / "hooks"
    built = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert built["force-include"]["hooks"] == f"provisioner/{finding.SHIPPED}"


@pytest.mark.parametrize("platform", drop_ins())
def test_every_drop_in_can_be_installed(platform: str, tmp_path: Path) -> None:
    drop_in = drop_ins()[platform]
    (tmp_path / drop_in.folder.parent).mkdir(parents=True, exist_ok=True)
    assert {each.result for each in install(drop_in, tmp_path)} <= {Result.COPIED}
    assert {each.result for each in install(drop_in, tmp_path)} <= {Result.UNCHANGED}
    assert [path for path in drop_in.files() if not PurePosixPath(path).is_relative_to(drop_in.folder)] == []


def test_wrong_description_is_named(bench: Bench) -> None:
    (bench.source / "drop-in.toml").write_text('folder = "x"')
    with pytest.raises(
        InstallRefused, match=r"acme/drop-in.toml is no description of a drop-in: 'next_step'"
    ):
        drop_ins(bench.hooks)
