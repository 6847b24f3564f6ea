"""What a customer may read of an operation."""

from __future__ import annotations

import pytest

from provisioner.operation import Kind, Operation, State
from provisioner.web.words import DOING, DONE, HELD, message

NAMES = ("venocix", "upstream", "reseller", "api")


def operation(state: State, error: str = "") -> Operation:
    return Operation(
        id="op_1", seq=1, billing="shop", service_id="1", kind=Kind.CREATE, state=state, step="begin",
        args={}, memo={}, sent=False, attempts=0, failures=0, claims=0, next_run_at=0, failing_since=None,
        expires_at=None, error_code="0xb0" if error else "", error_message=error,
        error_detail="POST server: refused" if error else "", job_id="", vmid=None, actor="service",
        event="", approvals=(), created_at=0, updated_at=0,
    )  # fmt: skip


def test_every_kind_has_its_words() -> None:
    assert set(DOING) == set(Kind)


@pytest.mark.parametrize("words", [*DOING.values(), DONE, HELD])
def test_words_name_nobody_behind(words: str) -> None:
    assert words.endswith(".")
    assert not any(name in words.lower() for name in NAMES)


@pytest.mark.parametrize(
    ("state", "error", "words"),
    [
        (State.QUEUED, "", "Your server is being set up."),
        (State.RUNNING, "", "Your server is being set up."),
        (State.WAITING, "", "Your server is being set up."),
        (State.HELD, "", HELD),
        (State.HELD, "It is checked.", "It is checked."),
        (State.FAILED, "It could not be made.", "It could not be made."),
        (State.CANCELLED, "Not wanted.", "Not wanted."),
        (State.DELIVERING, "", DONE),
        (State.SUCCEEDED, "", DONE),
    ],
)
def test_state_decides_the_words(state: State, error: str, words: str) -> None:
    assert message(operation(state, error)) == words
