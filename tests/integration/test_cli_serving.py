"""What `serve` stands on: a service in this process, and the bound of its end."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest
import requests

from provisioner import app
from provisioner.cli import client
from provisioner.cli.serve import serving
from provisioner.config import Settings, fresh_secrets, parse, starter
from provisioner.errors import StoreUnusable
from provisioner.web import whole


def settings_for(folder: Path, **server: str) -> Settings:
    text = starter(fresh_secrets(), upstream_base_url="http://127.0.0.1:1/api/v1", upstream_token="a-token")
    tables = tomllib.loads(text)
    return parse({**tables, "server": server}, name="test", folder=folder, environ={})


def status(url: str) -> int:
    return requests.get(url, timeout=10).status_code


def test_port_zero_is_told(tmp_path: Path) -> None:
    with serving(settings_for(tmp_path, listen="127.0.0.1:0")) as (place,):
        assert not place.endswith(":0")
        assert status(f"{place}/healthz") == 200
        assert status(f"{place}/api/operations") == 401
    with pytest.raises(requests.ConnectionError):
        status(f"{place}/healthz")


def test_admin_address_is_told_too(tmp_path: Path) -> None:
    with serving(settings_for(tmp_path, listen="127.0.0.1:0", admin_listen="localhost:0")) as (public, admin):
        assert status(f"{public}/api/operations") == 404
        assert status(f"{admin}/api/operations") == 401


def test_taken_port_is_said_and_store_let_go(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(click.ClickException, match=f"cannot listen at {listen}: Address already in use"):
            serving(settings_for(tmp_path, listen=listen)).__enter__()
    with serving(settings_for(tmp_path, listen="127.0.0.1:0")):
        pass


def test_pages_that_cannot_be_made_end_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_for(tmp_path, listen="127.0.0.1:0")
    with monkeypatch.context() as broken:
        broken.setattr(whole, "panel", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            serving(settings).__enter__()
    with serving(settings):
        pass


def test_leases_end_before_the_first_event(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And before the store's first reader: nothing is answered until what comes before the work is done."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        listen = f"127.0.0.1:{free.getsockname()[1]}"
    begin, answered = app.begin, []

    def begun(wired: app.App) -> None:
        begin(wired)
        with socket.create_connection(("127.0.0.1", int(listen.rpartition(":")[2])), timeout=0.3) as line:
            line.sendall(b"GET /readyz HTTP/1.0\r\n\r\n")
            with contextlib.suppress(TimeoutError):
                answered.append(line.recv(64))

    monkeypatch.setattr(app, "begin", begun)
    with serving(settings_for(tmp_path, listen=listen)) as (place,):
        assert answered == []
        assert status(f"{place}/readyz") == 200


def test_second_service_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client.time, "sleep", lambda _: pytest.fail("it waits for a service to end"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        listen = f"127.0.0.1:{probe.getsockname()[1]}"
    settings = settings_for(tmp_path, listen=listen)
    with serving(settings), pytest.raises(StoreUnusable) as refused:
        serving(settings).__enter__()
    assert refused.value.code == "store_locked"


@pytest.mark.parametrize(
    ("listen", "place"),
    [
        ("127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("0.0.0.0:8080", "http://127.0.0.1:8080"),
        ("[::]:8080", "http://[::1]:8080"),
        ("p.example.com:80", "http://p.example.com:80"),
    ],
)
def test_service_is_called_where_it_listens(listen: str, place: str) -> None:
    assert client.url(client.reachable(listen)) == place


def test_admin_address_comes_first(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, listen="127.0.0.1:8080", admin_listen="127.0.0.1:8081")
    assert client.admin_address(settings) == ("127.0.0.1", 8081)


def test_end_is_bounded() -> None:
    code = "import time; from provisioner.cli.serve import _end_within; _end_within(0.1); time.sleep(60)"
    assert subprocess.run([sys.executable, "-c", code], timeout=30, check=False).returncode == 0
