"""The drop-in's files: PHP 7.4's syntax, no name that another module could have, no input but WHMCS's."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
HOOKS = HERE.parents[2] / "hooks"
FILES = sorted(HOOKS.rglob("*.php"))
MODULE = HOOKS / "billing/whmcs/modules/servers/provisioner"
NEWER = {
    "match": "<?php $a = match(1) { 1 => 2 };",
    "nullsafe method": "<?php $a?->b();",
    "nullsafe property": "<?php $a?->b;",
    "throw as an expression": "<?php $a = $b ?? throw new E();",
    "union type": "<?php function f(int|string $a) {}",
    "enum": "<?php enum E { case A; }",
    "attribute": "<?php #[A] function f() {}",
    "first-class callable": "<?php $a = f(...);",
    "constructor promotion": "<?php class A { function __construct(private $a) {} }",
    "named argument": "<?php f(a: 1);",
    "catch without a variable": "<?php try {} catch (E) {}",
    "readonly": "<?php class A { public readonly int $a; }",
    "final constant": "<?php class A { final const B = 1; }",
    "class of an object": "<?php $a::class;",
    "mixed": "<?php function f(mixed $a) {}",
    "return static": "<?php class A { function f(): static {} }",
    "never": "<?php function f(): never {}",
    "new in a default": "<?php function f($a = new B()) {}",
    "comma after the last parameter": "<?php function f($a,) {}",
    "comma after the last use": "<?php $a = function () use ($b,) {};",
    "newer function": "<?php str_contains('a', 'b');",
    "newer class": "<?php new WeakMap();",
}


def newer_than_74(*files: Path) -> str:
    """What PHP 7.4 would not understand of these files, in words."""
    words = ["php", str(HERE / "old_php.php"), *map(str, files)]
    found = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
    assert found.stderr == ""
    return found.stdout


def test_every_file_is_php() -> None:
    assert FILES
    for file in FILES:
        one = subprocess.run(
            ["php", "-l", str(file)], capture_output=True, text=True, timeout=60, check=False
        )
        assert one.returncode == 0, one.stdout + one.stderr


def test_every_file_is_php_74() -> None:
    assert newer_than_74(*FILES) == ""


@pytest.mark.parametrize("name", NEWER)
def test_newer_syntax_is_found(tmp_path: Path, name: str) -> None:
    file = tmp_path / "newer.php"
    file.write_text(NEWER[name])
    assert "line 1" in newer_than_74(file)


def test_no_name_can_clash() -> None:
    """Global functions have the module's prefix; everything else lives in its namespace."""
    for file in MODULE.rglob("*.php"):
        text = file.read_text()
        if re.search(r"^namespace ", text, re.MULTILINE):
            assert "namespace WHMCS\\Module\\Server\\Provisioner" in text
            continue
        assert not re.search(r"^(abstract |final )?(class|interface|trait|const) ", text, re.MULTILINE), file
        names = re.findall(r"^function (\w+)", text, re.MULTILINE)
        assert all(name.startswith("provisioner_") for name in names), (file, names)


def test_files_answer_no_browser() -> None:
    """Asked for directly, a file with code outside of classes and functions ends at once."""
    for file in MODULE.rglob("*.php"):
        if re.search(r"^(final |abstract )?class ", file.read_text(), re.MULTILINE):
            continue
        ran = subprocess.run(["php", str(file)], capture_output=True, text=True, timeout=60, check=False)
        assert "Fatal" not in ran.stdout + ran.stderr, file
        assert len(ran.stdout) < 100, file


def test_upgrade_is_never_read_from_the_request() -> None:
    """An upgrade that a gateway, the cron or the API carries out has no browser's request behind it."""
    readers = {file.name for file in MODULE.rglob("*.php") if "$_REQUEST" in file.read_text()}
    assert readers <= {"hooks.php", "Cart.php"}, readers


def test_functions_that_are_not_supported_are_not_there() -> None:
    """WHMCS offers what a module defines: a password that the upstream would not take must not be offered."""
    module = (MODULE / "provisioner.php").read_text()
    assert not re.search(r"function provisioner_(ChangePassword|Renew|UsageUpdate|AdminLink)\b", module)
