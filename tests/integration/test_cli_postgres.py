"""Commands beside nodes that serve: one more process on the database, whoever else is there."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from provisioner.app import App, begin, build
from provisioner.cli import run
from provisioner.config import fresh_secrets, load, starter
from provisioner.engine import pauses
from provisioner.operation import State
from provisioner.store.postgres import PostgresStore
from provisioner.store.verbs import SealedCredentials
from provisioner.vault import Vault
from tests.integration.store_conformance import a_service, an_operation, keep
from tests.postgres import Postgres

KEY = base64.urlsafe_b64encode(b"k" * 32).decode()


@pytest.fixture
def url(postgres: Postgres) -> str:
    return postgres.empty()


@pytest.fixture
def node(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PostgresStore]:
    """What a node that serves has open; the settings name the same database."""
    monkeypatch.chdir(tmp_path)
    text = starter(fresh_secrets(), upstream_token="a-token")
    text = text.replace("[security]\n", f'[security]\nencryption_keys = ["{KEY}"]\n')
    Path("config.toml").write_text(text + f'\n[store]\nurl = "{url}"\n')
    Path("config.toml").chmod(0o600)
    with closing(PostgresStore(url)) as store:
        yield store


@pytest.mark.parametrize("serves", [True, False])
def test_check_says_whether_a_node_serves(
    node: PostgresStore, serves: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    if serves:
        node.begin(lambda: None, lambda: None)
    assert run(["check", "--offline"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if " store " in line]
    assert "postgresql://" in line
    assert line.endswith("the service runs" if serves else "the service does not run")


def test_command_works_beside_a_node(node: PostgresStore) -> None:
    node.begin(lambda: None, lambda: None)
    assert run(["pause", "--reason", "the provider's night"]) == 0
    assert node.read(lambda verbs: verbs.fact(pauses.BY_PERSON)) is not None
    (line,) = node.read(lambda verbs: verbs.audit(9, None))
    assert (line.action, line.reason) == ("work.paused", "the provider's night")
    assert run(["resume"]) == 0
    assert node.read(pauses.reasons) == {}


def test_cancel_reaches_the_database(node: PostgresStore) -> None:
    keep(node, an_operation())
    assert run(["operations", "cancel", "op_1"]) == 0
    operation = node.read(lambda verbs: verbs.operation("op_1"))
    assert operation is not None
    assert operation.state is State.CANCELLED


def serving() -> App:
    """A node with the settings as they are."""
    app = build(load(Path("config.toml"), {}))
    begin(app)
    return app


def take_keys(*keys: str) -> None:
    text = re.sub(
        "encryption_keys = .*", f"encryption_keys = {json.dumps(keys)}", Path("config.toml").read_text()
    )
    Path("config.toml").write_text(text)


def test_rotation_waits_for_each_node_to_have_the_key(
    node: PostgresStore, capsys: pytest.CaptureFixture[str]
) -> None:
    """A node without it could open nothing of what is sealed anew."""
    new = Fernet.generate_key().decode()
    sealed = SealedCredentials("v", Vault([KEY]).seal("shop/1001", {"password": "secret"}))
    keep(node, a_service())
    node.write(lambda verbs: verbs.keep_credentials("shop", "1001", sealed))
    with closing(serving()) as before:
        take_keys(new, KEY)
        with closing(serving()):
            assert run(["keys", "rotate"]) == 1
            assert "do not have the first of encryption_keys: 1;" in capsys.readouterr().err
            take_keys(new)
            assert run(["keys", "rotate", "--lost"]) == 1
            take_keys(new, KEY)
            assert node.read(lambda verbs: verbs.credentials("shop", "1001")) == sealed
            before.close()
            assert run(["keys", "rotate"]) == 0
    anew = node.read(lambda verbs: verbs.credentials("shop", "1001"))
    assert anew is not None
    assert Vault([new]).open("shop/1001", anew.sealed) == {"password": "secret"}


def test_database_that_is_away_is_said(node: PostgresStore, capsys: pytest.CaptureFixture[str]) -> None:
    text = Path("config.toml").read_text()
    Path("config.toml").write_text(
        text.rpartition("[store]")[0] + '[store]\nurl = "postgresql://a:a-secret@127.0.0.1:1/b"\n'
    )
    assert run(["operations", "list"]) == 1
    said = capsys.readouterr()
    assert "the store postgresql://127.0.0.1/b cannot be opened" in said.err
    assert "a-secret" not in said.err


def test_service_cannot_leave_a_database(node: PostgresStore) -> None:
    from provisioner.app import build
    from provisioner.config import load
    from provisioner.errors import WrongState

    with (
        closing(build(load(Path("config.toml"), {}))) as app,
        pytest.raises(WrongState, match="start one on the new machine"),
    ):
        app.relocation.leave("admin:admin")
