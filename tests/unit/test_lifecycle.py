"""Loading the users' hook files, and calling what is in them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from provisioner.errors import SettingsError
from provisioner.lifecycle import HOOKS, MOST_WORDS, Lifecycle, load
from provisioner.operation import Kind, Operation, State
from provisioner.service import Service, ServiceStatus, Spec

SPEC = Spec(template="Debian10.0", cpu_cores=1, mem=1024, disk="10G", ip_count=1)
SERVICE = Service(
    billing="shop",
    service_id="1001",
    seq=1,
    status=ServiceStatus.ACTIVE,
    plan="vps-s",
    spec=SPEC,
    config=SPEC,
    vmid=4001,
    ips=("192.0.2.10",),
    ips_complete=True,
    hostname="web1.example.com",
    client_id="7",
    suspend_reason="",
    locked=False,
    ran_before_suspend=None,
    created_at=1_795_000_000_000,
    updated_at=1_795_000_000_000,
)
OPERATION = Operation(
    id="op_1",
    seq=1,
    billing="shop",
    service_id="1001",
    kind=Kind.CREATE,
    state=State.RUNNING,
    step="begin",
    args={"plan": "vps-s", "spec": SPEC.as_dict()},
    memo={"was": "not for hooks"},
    sent=False,
    attempts=1,
    failures=0,
    claims=1,
    next_run_at=0,
    failing_since=None,
    expires_at=None,
    error_code="",
    error_message="",
    error_detail="",
    job_id="",
    vmid=None,
    actor="billing:shop",
    event="evt_1",
    approvals=(),
    created_at=1_795_000_060_000,
    updated_at=1_795_000_060_000,
)

Write = Callable[..., Lifecycle]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What hook files that `import ledger` put down."""
    ledger = ModuleType("ledger")
    ledger.calls = []  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ledger", ledger)
    return ledger.calls  # type: ignore[attr-defined, no-any-return]


@pytest.fixture
def hooks(tmp_path: Path) -> Iterator[Write]:
    """Writes hook files by their names (`.py` is added), and loads them."""
    before = {*sys.modules}

    def write(**files: str) -> Lifecycle:
        for name, source in files.items():
            (tmp_path / f"{name}.py").write_text(source)
        return load(tmp_path)

    yield write
    for name in {*sys.modules} - before:
        del sys.modules[name]


def test_every_kind_has_both_moments() -> None:
    assert {f"{moment}_{kind}" for moment in ("before", "after") for kind in Kind} | {"after_failed"} == HOOKS


def test_no_directory_means_no_hooks() -> None:
    lifecycle = load(None)
    assert (lifecycle.has_any(), lifecycle.problems) == (False, [])
    assert lifecycle.before(OPERATION, SERVICE) is None
    assert lifecycle.after(OPERATION, SERVICE, failed=False) == []


@pytest.mark.parametrize(
    ("name", "why"), [("none", "No such file or directory"), ("file", "Not a directory")]
)
def test_directory_that_is_none_is_a_wrong_setting(tmp_path: Path, name: str, why: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError) as told:
        load(tmp_path / name)
    (problem,) = told.value.problems
    assert problem.startswith(
        f"[hooks] directory: names {tmp_path / name}, which cannot be read: {why}; must be"
    )


ARGUMENTS = [
    ("", []),
    ("service", ["service"]),
    ("operation", ["operation"]),
    ("operation, service", ["operation", "service"]),
    ("service, operation", ["operation", "service"]),
    ("*, service", ["service"]),
    ("service=None", ["service"]),
    ("operation, limit=3", ["operation"]),
]


@pytest.mark.parametrize(("taken", "given"), ARGUMENTS)
def test_arguments_are_given_by_name(hooks: Write, calls: list[Any], taken: str, given: list[str]) -> None:
    source = f"import ledger\ndef after_create({taken}): ledger.calls.append(dict(locals()))"
    lifecycle = hooks(mine=source)
    assert (lifecycle.problems, lifecycle.after(OPERATION, SERVICE, failed=False)) == ([], [])
    (call,) = calls
    assert sorted(call.keys() - {"limit"}) == given
    assert all(call[name].service_id == "1001" for name in given)


def test_hook_is_given_facts(hooks: Write, calls: list[Any]) -> None:
    failed = replace(
        OPERATION,
        state=State.FAILED,
        error_code="0xa5",
        error_message="No.",
        error_detail="The disk is full.",
    )
    hooks(
        mine="import ledger\ndef after_failed(operation, service): ledger.calls += [operation, service]"
    ).after(failed, SERVICE, failed=True)
    operation, service = calls
    assert (operation.id, operation.kind, operation.state) == ("op_1", "create", "failed")
    assert (operation.error_code, operation.error_message) == ("0xa5", "The disk is full.")
    assert (operation.args, operation.created_at) == (OPERATION.args, "2026-11-18T11:07:40.000Z")
    assert (service.spec, service.ips, service.vmid) == (SPEC.as_dict(), ("192.0.2.10",), 4001)
    assert (service.client_id, service.status) == ("7", "active")
    assert "not for hooks" not in repr(calls)


def test_facts_are_copies(hooks: Write, calls: list[Any]) -> None:
    greedy = """
def before_create(operation, service):
    operation.args["spec"]["mem"] = service.spec["mem"] = 99999
    operation.args.clear()
"""
    looking = """
import ledger
def before_create(operation, service): ledger.calls += [operation.args["spec"]["mem"], service.spec["mem"]]
"""
    operation = replace(OPERATION, args={"spec": SPEC.as_dict()})
    assert hooks(a=greedy, b=looking).before(operation, SERVICE) is None
    assert operation.args == {"spec": SPEC.as_dict()}
    assert calls == [1024, 1024]


def test_other_kinds_are_not_called(hooks: Write) -> None:
    lifecycle = hooks(
        mine="def before_terminate(): 1 / 0\ndef after_create(): 1 / 0\ndef after_failed(): 1 / 0"
    )
    assert lifecycle.before(OPERATION, SERVICE) is None
    suspend = replace(OPERATION, kind=Kind.SUSPEND)
    assert lifecycle.after(suspend, SERVICE, failed=False) == []


def test_waiting_for_ends_is_told(hooks: Write) -> None:
    lifecycle = hooks(mine="def after_create(): pass")
    asked = [(Kind.CREATE, False), (Kind.CREATE, True), (Kind.CHANGE, False)]
    assert [lifecycle.has_after(kind, failed=failed) for kind, failed in asked] == [True, False, False]


def test_files_are_asked_by_name(hooks: Write, calls: list[Any]) -> None:
    source = "import ledger\ndef before_create(): ledger.calls.append(__name__[-1])"
    lifecycle = hooks(c=source, a=source, b=source, _d=source)
    lifecycle.before(OPERATION, SERVICE)
    assert (calls, lifecycle.files) == (["a", "b", "c"], ["a.py", "b.py", "c.py"])


def test_first_objection_is_returned(hooks: Write, calls: list[Any]) -> None:
    lifecycle = hooks(
        a="def before_create(): pass",
        b="def before_create(service):\n    raise ValueError(f'{service.service_id} smells')",
        c="import ledger\ndef before_create(): ledger.calls.append('asked')",
    )
    objection = lifecycle.before(OPERATION, SERVICE)
    assert str(objection) == "before_create in b.py, line 2: ValueError: 1001 smells"
    assert calls == []


def test_overruled_file_is_not_asked(hooks: Write) -> None:
    lifecycle = hooks(a="def before_create(): 1 / 0", b="def before_create(): [][0]")
    lifted = ["a.py"]
    second = lifecycle.before(OPERATION, SERVICE, lifted)
    assert second is not None
    assert second.file == "b.py"
    assert lifecycle.before(OPERATION, SERVICE, [*lifted, "b.py"]) is None


def test_raising_after_hook_disturbs_none(hooks: Write, calls: list[Any]) -> None:
    lifecycle = hooks(
        a="def after_create():\n    raise KeyError('x')",
        b="import ledger\ndef after_create(): ledger.calls.append('told')",
        c="def after_create(): pass",
    )
    errors = lifecycle.after(OPERATION, SERVICE, failed=False)
    assert [str(error) for error in errors] == ["after_create in a.py, line 2: KeyError: 'x'"]
    assert calls == ["told"]


RAISED = [
    ("raise SystemExit('stop')", "SystemExit: stop"),
    ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    ("raise GeneratorExit", "GeneratorExit"),
    ("raise type('Halt', (BaseException,), {})('now')", "Halt: now"),
    ("raise type('Mute', (Exception,), {'__str__': lambda self: 1 / 0})()", "Mute"),
    ("raise ValueError('a\\nb\\0c\\x1b[2J\\ud800')", "ValueError: a b c [2J "),
    ("raise ValueError('ü' * 600)", "ValueError: " + "ü" * (MOST_WORDS - 13) + "…"),
    ("raise ValueError('ü' * 488)", "ValueError: " + "ü" * 488),
]


@pytest.mark.parametrize(("statement", "words"), RAISED)
def test_whatever_is_raised_is_told(hooks: Write, statement: str, words: str) -> None:
    lifecycle = hooks(mine=f"def before_create(): {statement}\ndef after_create(): {statement}")
    objection = lifecycle.before(OPERATION, SERVICE)
    assert objection is not None
    assert objection.message == words
    assert len(words) <= MOST_WORDS
    assert [error.message for error in lifecycle.after(OPERATION, SERVICE, failed=False)] == [words]


def test_line_is_the_users_own(hooks: Write) -> None:
    source = "import json\ndef before_create():\n    deeper()\ndef deeper():\n    json.loads('{')\n"
    objection = hooks(mine=source).before(OPERATION, SERVICE)
    assert objection is not None
    assert objection.line == 5


PROBLEMS = [
    ("def before_create(:", "mine.py: SyntaxError: "),
    ("x = 1\n1 / 0", "mine.py, line 2: ZeroDivisionError: division by zero"),
    ("import no_such_module_anywhere", "mine.py, line 1: ModuleNotFoundError: No module named"),
    ("raise SystemExit('no key')", "mine.py, line 1: SystemExit: no key"),
    (
        "def before_teminate(): pass",
        "mine.py: NameError: before_teminate is no hook: there are before_<kind>",
    ),
    ("def before_failed(): pass", "mine.py: NameError: before_failed is no hook"),
    ("def before_create(vm): pass", "mine.py: TypeError: before_create: missing a required argument: 'vm'"),
    (
        "def before_create(operation, /): pass",
        "mine.py: TypeError: before_create: ",
    ),
    ("async def before_create(): pass", "mine.py: TypeError: before_create must be a plain function"),
    ("def before_create(): yield", "mine.py: TypeError: before_create must be a plain function"),
    ("async def before_create(): yield", "mine.py: TypeError: before_create must be a plain function"),
    ("class before_create: pass", "mine.py: TypeError: before_create must be a plain function"),
    ("\0", "mine.py: "),
]


@pytest.mark.parametrize(("source", "words"), PROBLEMS)
def test_file_with_problem_is_left_out(hooks: Write, tmp_path: Path, source: str, words: str) -> None:
    lifecycle = hooks(mine=f"{source}\ndef after_create(): 1 / 0\n", other="def after_create(): [][0]")
    (problem,) = lifecycle.problems
    assert problem.startswith(f"{tmp_path}/{words}")
    assert lifecycle.files == ["other.py"]
    assert [error.file for error in lifecycle.after(OPERATION, SERVICE, failed=False)] == ["other.py"]
    assert "provisioner_hooks_mine" not in sys.modules


def test_unreadable_file_is_a_problem(hooks: Write, tmp_path: Path) -> None:
    (tmp_path / "folder.py").mkdir()
    (tmp_path / "gone.py").symlink_to("nowhere")
    problems = hooks().problems
    assert [problem.split(":")[1] for problem in problems] == [" IsADirectoryError", " FileNotFoundError"]


def test_interrupt_while_loading_passes(hooks: Write) -> None:
    with pytest.raises(KeyboardInterrupt):
        hooks(mine="raise KeyboardInterrupt")


def test_names_without_function_are_ignored(hooks: Write) -> None:
    lifecycle = hooks(mine="before_create = None\nafter_all = 3\n")
    assert (lifecycle.problems, lifecycle.before(OPERATION, SERVICE)) == ([], None)


def test_file_may_have_dataclasses(hooks: Write) -> None:
    source = """
from __future__ import annotations
from dataclasses import dataclass
@dataclass
class Record:
    name: str
"""
    assert hooks(mine=source).problems == []
    assert sys.modules["provisioner_hooks_mine"].Record("x").name == "x"


def test_file_has_its_own_futures(hooks: Write) -> None:
    source = "def size(mem: int): pass\nassert size.__annotations__ == {'mem': int}"
    assert hooks(mine=source).problems == []


def test_loading_leaves_nothing_behind(hooks: Write, tmp_path: Path) -> None:
    hooks(mine="def before_create(): pass")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.py"]
