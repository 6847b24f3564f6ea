"""Every sentence that a customer may see in the panel, found in the code."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from babel.messages.extract import extract_from_dir

from provisioner.engine.offers import WhyNot
from provisioner.web import words

ROOT = Path(__file__).parents[2] / "provisioner"
METHODS = [("**.py", "python"), ("**.html", "jinja2")]
# Whose first argument a customer may read.
ERRORS = {
    "OperationFailed", "OperationHeld", "UpstreamUnavailable", "UpstreamOutcomeUnknown", "UpstreamRefused",
    "TokenRefused", "VmNotFound", "JobNotFound",
}  # fmt: skip
# And whose third: record.fail(operation, code, public), send_again(run, step, public).
THIRD = {"fail", "cancel", "hold", "send_again"}
PLACES = ("operations", "engine", "upstream")


def marked() -> set[str]:
    """What the panel itself says."""
    found = extract_from_dir(ROOT / "web" / "panel", METHODS, keywords={"_": None, "N_": None})
    return {message for _, _, message, _, _ in found if isinstance(message, str)}


def told() -> set[str]:
    """What the operations say, and the errors that end them."""
    own = {why.value for why in WhyNot} | set(words.DOING.values()) | {words.DONE, words.HELD}
    return own | {
        sentence for place in PLACES for file in (ROOT / place).glob("*.py") for sentence in _of(file)
    }


def _of(file: Path) -> Iterator[str]:
    tree = ast.parse(file.read_text("utf-8"))
    names: dict[str, list[ast.expr]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            names.setdefault(node.targets[0].id, []).append(node.value)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            argument = _sentence_of(node)
            if argument is not None:
                yield from _texts(argument, names, file)


def _sentence_of(call: ast.Call) -> ast.expr | None:
    name = call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")
    if name in ERRORS and call.args:
        return call.args[0]
    if name in THIRD and len(call.args) > 2:
        return call.args[2]
    return call.args[1] if name == "Meaning" else None


def _texts(argument: ast.expr, names: dict[str, list[ast.expr]], file: Path) -> Iterator[str]:
    match argument:
        case ast.Constant(value=str(text)):
            yield text
        case ast.IfExp(body=one, orelse=other):
            yield from _texts(one, names, file)
            yield from _texts(other, names, file)
        case ast.Name(id=name) if name in names:
            for value in names[name]:
                yield from _texts(value, names, file)
        case ast.Attribute(attr="public") | ast.Name(id="public"):
            pass  # handed on: where it was made is seen there
        case _:
            raise AssertionError(f"{file.name}:{argument.lineno}: a sentence that no translation can know")
