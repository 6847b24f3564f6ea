"""`hooks`: the drop-ins that billing systems need, put into their trees."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from provisioner.cli.invocation import Family
from provisioner.cli.output import as_json, in_words, print_json, print_table

if TYPE_CHECKING:
    from provisioner.drop_in import DropIn
    from provisioner.drop_in.install import Change

COLUMNS = ("platform", "folder", "page")


@click.group(cls=Family)
def hooks() -> None:
    """The drop-ins for billing systems."""


@hooks.command("list")
@as_json
def list_(*, as_json: bool) -> None:
    """The platforms that have one, its folder in the platform's tree, and the page that explains it."""
    from provisioner.drop_in import drop_ins

    items = [
        {"platform": each.platform, "folder": str(each.folder), "page": str(each.source / "README.md")}
        for each in drop_ins().values()
    ]
    if as_json:
        print_json({"items": items})
    else:
        print_table(COLUMNS, items)


@hooks.command()
@click.argument("platform")
@click.option("--to", required=True, type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@as_json
def install(*, platform: str, to: Path, dry_run: bool, as_json: bool) -> None:
    """Copy a platform's drop-in into the billing system's tree at DIR, or bring it up to date there.

    A file that was changed there is listed and kept; remove it there to take ours.

    \b
    provisioner hooks install whmcs --to /var/www/whmcs --dry-run
    """
    from provisioner.drop_in.install import install as put

    drop_in = _drop_in(platform)
    changes = put(drop_in, to, dry_run=dry_run)
    if as_json:
        items = [{"path": each.path, "result": each.result, "note": each.note} for each in changes]
        print_json({"platform": platform, "dry_run": dry_run, "items": items, "next": drop_in.next_step})
    else:
        _tell(changes, drop_in, dry_run=dry_run)


def _drop_in(platform: str) -> DropIn:
    from provisioner.drop_in import drop_ins

    there = drop_ins()
    if platform not in there:
        names = ", ".join(there)
        raise click.UsageError(f"there is no drop-in for {in_words(platform)}: there are {names}")
    return there[platform]


def _tell(changes: Sequence[Change], drop_in: DropIn, *, dry_run: bool) -> None:
    before = "would be " if dry_run else ""
    for each in changes:
        note = f"  ({each.note})" if each.note else ""
        click.echo(f"{before}{each.result:<9}  {in_words(each.path)}{in_words(note)}")
    click.echo("Nothing was written: --dry-run." if dry_run else f"Next: {drop_in.next_step}.")
