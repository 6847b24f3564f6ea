"""The pages say what the code says, and no link leads nowhere."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import fields
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from mkdocs.commands.build import build
from mkdocs.config import load_config

from provisioner.sandbox.faults import PROCESSED, UNPROCESSED, Rule
from provisioner.sandbox.settings import FailNextJob, ForeignVm, Settings

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(
    page
    for folder, pattern in ((ROOT, "*.md"), (DOCS, "**/*.md"), (ROOT / "hooks", "**/*.md"))
    for page in folder.glob(pattern)
)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?P<target>[^)\s]+)\)")
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+ (?P<words>.+)$", re.MULTILINE)
LONGEST = 120


def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference", DOCS / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def prose(page: Path) -> str:
    return FENCED.sub("", page.read_text("utf-8"))


def anchors(page: Path) -> set[str]:
    """As GitHub and mkdocs make them of headings."""
    words = (re.sub(r"[^\w\- ]", "", match["words"].lower()) for match in HEADING.finditer(prose(page)))
    return {re.sub(r" +", "-", heading.strip()) for heading in words}


@pytest.mark.parametrize("page", reference().PARTS)
def test_reference_is_as_the_code_says(page: str) -> None:
    """`make docs` writes it anew."""
    assert (DOCS / page).read_text("utf-8") == reference().written(page)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for match in LINK.finditer(prose(page)):
        target, _, anchor = match["target"].partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        file = (page.parent / target).resolve() if target else page
        if not file.exists() or (anchor and file.suffix == ".md" and anchor not in anchors(file)):
            broken.append(match["target"])
    assert broken == []


def test_every_page_is_found_from_the_start() -> None:
    settings = yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))
    named = {page for entry in settings["nav"] for page in entry.values()}
    assert named == {str(page.relative_to(DOCS)) for page in DOCS.glob("*.md")} | {"decisions/index.md"}
    start = (DOCS / "index.md").read_text("utf-8")
    assert [page for page in named if page != "index.md" and f"({page})" not in start] == []


def test_every_decision_is_listed() -> None:
    listed = (DOCS / "decisions" / "index.md").read_text("utf-8")
    pages = [page.name for page in (DOCS / "decisions").glob("0*.md")]
    assert [name for name in pages if f"({name})" not in listed] == []


def test_site_is_built_without_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = load_config(str(ROOT / "mkdocs.yml"), site_dir=str(tmp_path))
    build(config)
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warned == []
    html = (tmp_path / "index.html").read_text("utf-8")
    assert "Runbook" in html
    assert not re.search(r'(?:src|href)="(?:https?:)?//(?!www\.mkdocs\.org)', html)


def test_sandbox_page_names_all_that_can_be_asked_of_it() -> None:
    asked = {field.name for model in (Rule, Settings, FailNextJob, ForeignVm) for field in fields(model)}
    named = set(re.findall(r"\w+", (DOCS / "sandbox.md").read_text("utf-8")))
    assert {*asked, *PROCESSED, *UNPROCESSED, "lose_job"} - named == set()
