"""What is shipped in deploy/ works: nginx's site in front of a real service, and the units as they read."""

from __future__ import annotations

import configparser
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any

import pytest

from provisioner.cli.send import event
from provisioner.config import load
from provisioner.signing import sign
from tests.processes import Group

DEPLOY = Path(__file__).parents[2] / "deploy"
PATIENCE_S = 90.0
MOST_EXPOSED = 1.5  # systemd's measure, from 0 (nothing to be afraid of) to 10
NGINX = shutil.which("nginx") or "/usr/sbin/nginx"


def needed(program: str, package: str) -> None:
    """Skips where a program is missing, with a line that says what to install; CI has it."""
    if shutil.which(program) or Path(program).exists():
        return
    words = f"{Path(program).name} is missing: apt install {package}"
    if os.environ.get("CI"):
        pytest.fail(words)
    pytest.skip(words)


class Proxied:
    """A service behind the site that is shipped, on ports of this test's own."""

    def __init__(self, site: Any, folder: Path, ports: tuple[int, int, int]) -> None:
        self.port, self.plain, service = ports
        self._folder = folder
        site.replace_setting("[server]", "[server]\ntrusted_proxies = 1")
        listen = re.search(r'listen = "(.*?)"', site.config.read_text())
        assert listen is not None
        site.replace_setting(f'listen = "{listen[1]}"', f'listen = "127.0.0.1:{service}"')
        certificate, key = folder / "fullchain.pem", folder / "privkey.pem"
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"),
                *(
                    "-subj",
                    "/CN=provision.example.com",
                    "-addext",
                    "subjectAltName=DNS:provision.example.com",
                ),
                *("-keyout", str(key), "-out", str(certificate)),
            ],
            check=True,
            capture_output=True,
        )
        text = (DEPLOY / "nginx" / "provisioner.conf").read_text("utf-8")
        for before, after in (
            ("/etc/letsencrypt/live/provision.example.com", str(folder)),
            ("listen [::]:80;", ""),
            ("listen [::]:443 ssl http2;", ""),
            ("listen 80;", f"listen 127.0.0.1:{self.plain};"),
            ("listen 443 ssl http2;", f"listen {self.port} ssl http2;"),
            ("http://127.0.0.1:8080", f"http://127.0.0.1:{service}"),
        ):
            assert before in text
            text = text.replace(before, after)
        temporary = "".join(
            f"{name}_temp_path {folder}/{name};"
            for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (folder / "nginx.conf").write_text(
            f"daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;"
            f"{'user root;' if os.geteuid() == 0 else ''} events {{}} http {{ {temporary} {text} }}"
        )
        self.certificate = certificate

    @contextmanager
    def serving(self) -> Iterator[None]:
        command = [NGINX, "-p", str(self._folder), "-c", "nginx.conf"]
        checked = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stderr
        until = time.monotonic() + PATIENCE_S
        with Group(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
            while not self._answers():
                assert time.monotonic() < until, (self._folder / "error.log").read_text()
                time.sleep(0.02)
            yield

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def ask(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        source: str = "",
    ) -> tuple[int, bytes]:
        """One request over TLS, from an address of this machine."""
        trust = ssl.create_default_context(cafile=str(self.certificate))
        raw = socket.create_connection(
            ("127.0.0.1", self.port), timeout=PATIENCE_S, source_address=(source or "127.0.0.1", 0)
        )
        connection = HTTPSConnection("provision.example.com", timeout=PATIENCE_S)
        connection.sock = trust.wrap_socket(raw, server_hostname="provision.example.com")
        connection.request(method, path, body or None, headers or {})
        answer = connection.getresponse()
        try:
            return answer.status, answer.read()
        finally:
            connection.close()


@pytest.fixture
def proxied(site: Any, tmp_path: Path, free_ports: Any) -> Iterator[Proxied]:
    needed(NGINX, "nginx-light")
    folder = tmp_path / "nginx"
    folder.mkdir()
    made = Proxied(site, folder, free_ports(3))
    site.serve()
    with made.serving():
        yield made


def test_event_arrives_behind_nginx_with_its_senders_address(site: Any, proxied: Proxied) -> None:
    secret = load(site.config, {}).billing["shop"].secrets[0].get_secret_value()
    body = json.dumps(event("order.paid", "1001", ["plan=vps-s"], time.time())).encode()
    headers = sign([secret], "evt-1", int(time.time()), body)
    headers |= {"Content-Type": "application/json", "X-Forwarded-For": "203.0.113.9"}
    status, answer = proxied.ask("POST", "/webhooks/shop", body, headers, source="127.0.0.2")
    assert status == 202, answer
    site.shop.wait_for(lambda one: one.type == "service.provisioned", PATIENCE_S)
    lines = json.loads(site.run("audit", "list", "--service-id", "1001", "--json").stdout)["items"]
    (asked,) = [line for line in lines if line["actor"].startswith("billing:")]
    assert asked["address"] == "127.0.0.2"


def test_nginx_answers_plain_requests_with_the_other_address(proxied: Proxied) -> None:
    with socket.create_connection(("127.0.0.1", proxied.plain), timeout=PATIENCE_S) as raw:
        raw.sendall(b"GET /readyz HTTP/1.1\r\nHost: provision.example.com\r\nConnection: close\r\n\r\n")
        said = b"".join(iter(lambda: raw.recv(65536), b"")).decode()
    assert said.startswith("HTTP/1.1 308")
    assert "Location: https://provision.example.com/readyz" in said


def test_nginx_lets_no_large_body_through(proxied: Proxied) -> None:
    status, _ = proxied.ask("POST", "/webhooks/shop", b"x" * (2 << 20), {"Content-Type": "application/json"})
    assert status == 413


# The units


def unit(name: str) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(DEPLOY / "systemd" / name, "utf-8")
    return parser


@pytest.mark.parametrize("name", ["provisioner.service", "provisioner-backup.service"])
def test_units_have_next_to_no_rights(name: str) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is missing: apt install systemd")
    said = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", str(DEPLOY / "systemd" / name)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "SYSTEMD_PAGER": "cat", "NO_COLOR": "1"},
    )
    exposure = re.search(r"Overall exposure level for \S+: ([\d.]+)", said.stdout)
    if exposure is None:
        pytest.skip(f"this systemd-analyze judges no file: {said.stderr.strip()}")
    assert float(exposure[1]) <= MOST_EXPOSED


def test_unit_does_not_start_again_what_a_person_must_mend() -> None:
    service = unit("provisioner.service")["Service"]
    assert (service["Restart"], service["RestartPreventExitStatus"]) == ("always", "2")
    assert service["ExecStart"].endswith("serve")
    assert int(service["TimeoutStopSec"]) > 40  # the upstream's timeout and ten seconds


def test_container_runs_as_nobody_and_is_asked_for_its_health() -> None:
    text = (DEPLOY / "container" / "Containerfile").read_text("utf-8")
    assert re.search(r"^USER 10001:10001$", text, re.MULTILINE)
    assert "/healthz" in text.partition("HEALTHCHECK")[2]
    assert re.search(r'^ENTRYPOINT \["provisioner"\]$', text, re.MULTILINE)
    copied = set(re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE))
    for name in {name for names in copied for name in names.split()}:
        assert (DEPLOY.parent / name).exists(), name
