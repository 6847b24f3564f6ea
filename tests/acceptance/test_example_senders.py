"""The senders and receivers that people copy, run as they are: against stubs, and around a real service."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests

from provisioner import signing
from provisioner.config import load
from provisioner.sandbox.wire import Answer, Exchange, Listener
from provisioner.signing import decode_secret
from tests.acceptance.conftest import PATIENCE_S, wait_until
from tests.ports import free_port
from tests.processes import Group

EXAMPLE = Path(__file__).parents[2] / "hooks" / "billing" / "example"
SENDERS: dict[str, list[str]] = {
    "python": [sys.executable, str(EXAMPLE / "send.py")],
    "php": ["php", str(EXAMPLE / "send.php")],
    "sh": ["sh", str(EXAMPLE / "send.sh")],
}
RECEIVERS: dict[str, Callable[[int], list[str]]] = {
    "python": lambda port: [sys.executable, str(EXAMPLE / "receive.py"), str(port)],
    "php": lambda port: ["php", "-S", f"127.0.0.1:{port}", str(EXAMPLE / "receive.php")],
}
NEEDS = {"php": "php-cli php-curl", "sh": "curl openssl"}
TRIES = 4


def has(language: str) -> bool:
    if language == "php":
        asks = ["php", "-r", "exit(extension_loaded('curl') ? 0 : 1);"]
        return bool(shutil.which("php")) and subprocess.run(asks, check=False).returncode == 0
    return language == "python" or all(map(shutil.which, ("curl", "openssl")))


def need(language: str) -> None:
    """Skips where a language is missing; CI has them all, so there that is a failure."""
    if not has(language):
        words = f"{language} needs: apt install {NEEDS[language]}"
        pytest.fail(words) if os.environ.get("CI") == "true" else pytest.skip(words)


@pytest.fixture(params=SENDERS)
def sender(request: pytest.FixtureRequest) -> list[str]:
    need(request.param)
    return SENDERS[request.param]


def a_secret(size: int = 32, mark: bytes = b"s") -> str:
    return "whsec_" + base64.b64encode((mark + bytes(range(255, -1, -1)))[:size]).decode()


SECRET = a_secret()
ID = "order-1001 paid"
EVENT = '{"type": "service.start", "data": {"service_id": "1001", "reason": "ü"}}\n\n'.encode()


@dataclass
class Taker:
    """A receiver that answers as it is told; None drops the connection, the last answer is given for ever."""

    answers: Sequence[int | None] = (202,)
    taken: list[tuple[Mapping[str, str], bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._listener = Listener(self._serve)
        self._listener.come_up()
        self.url = f"{self._listener.url}/webhooks/shop"

    def _serve(self, exchange: Exchange) -> None:
        answer = self.answers[min(len(self.taken), len(self.answers) - 1)]
        self.taken.append((exchange.headers, exchange.body))
        if answer is None:
            exchange.drop()
        else:
            headers = {"Location": self.url} if answer == 302 else {}
            exchange.send(Answer.json(answer, {"answered": answer}, headers))

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def taker() -> Iterator[Taker]:
    with closing(Taker()) as made:
        yield made


def sent(
    sender: list[str], url: str, webhook_id: str = ID, *, body: bytes = EVENT, **environ: str
) -> subprocess.CompletedProcess[str]:
    """Runs a sender to its end."""
    around = {"PROVISIONER_SECRET": SECRET, "PROVISIONER_WAIT": "0.01", **environ, "PROVISIONER_URL": url}
    ran = subprocess.run(
        [*sender, webhook_id],
        input=body, capture_output=True, env={**os.environ, **around}, timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    return subprocess.CompletedProcess(
        ran.args, ran.returncode, ran.stdout.decode(errors="replace"), ran.stderr.decode(errors="replace")
    )


# Sending


@pytest.mark.parametrize("size", [24, 64, 65])
def test_accepted_event_was_signed_over_its_bytes(sender: list[str], taker: Taker, size: int) -> None:
    """HMAC takes keys of more than 64 bytes in another way."""
    secret = a_secret(size)
    ran = sent(sender, taker.url, PROVISIONER_SECRET=secret)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert '{"answered": 202}' in ran.stdout
    ((headers, body),) = taker.taken
    assert body == EVENT
    assert headers["content-type"] == "application/json"
    assert signing.verify([secret], headers, body, int(time.time())) == ID


def test_same_event_is_sent_until_it_is_answered(sender: list[str], taker: Taker) -> None:
    taker.answers = (503, None, 429, 200)
    assert sent(sender, taker.url).returncode == 0
    ids = [signing.verify([SECRET], headers, body, int(time.time())) for headers, body in taker.taken]
    assert ids == [ID] * TRIES
    assert {body for _, body in taker.taken} == {EVENT}


@pytest.mark.parametrize("status", [302, 401, 422])
def test_refused_event_is_not_sent_again(sender: list[str], taker: Taker, status: int) -> None:
    taker.answers = (status,)
    ran = sent(sender, taker.url)
    assert (ran.returncode, len(taker.taken)) == (1, 1)
    assert str(status) in ran.stderr
    assert SECRET not in ran.stdout + ran.stderr


@pytest.mark.parametrize("answer", [500, None])
def test_unclear_event_ends_with_two(sender: list[str], taker: Taker, answer: int | None) -> None:
    taker.answers = (answer,)
    assert sent(sender, taker.url).returncode == 2
    assert len(taker.taken) == TRIES


def test_bash_runs_the_shell_sender_too(taker: Taker) -> None:
    need("sh")
    assert sent(["bash", SENDERS["sh"][1]], taker.url).returncode == 0
    ((headers, body),) = taker.taken
    assert signing.verify([SECRET], headers, body, int(time.time())) == ID


def test_service_that_is_down_ends_with_two(sender: list[str]) -> None:
    assert sent(sender, f"http://127.0.0.1:{free_port()}/webhooks/shop").returncode == 2


def test_first_secret_of_a_file_signs(sender: list[str], taker: Taker, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\n{a_secret(mark=b'old')}\n")
    assert sent(sender, taker.url, PROVISIONER_SECRET="", PROVISIONER_SECRET_FILE=str(file)).returncode == 0
    ((headers, body),) = taker.taken
    assert signing.verify([SECRET], headers, body, int(time.time()))


@pytest.mark.parametrize("secret", ["", "whsec_", a_secret(23), SECRET.removeprefix("whsec_")])
def test_what_is_no_secret_signs_nothing(sender: list[str], taker: Taker, secret: str) -> None:
    assert sent(sender, taker.url, PROVISIONER_SECRET=secret).returncode not in (0, 2)
    assert taker.taken == []


def test_shell_gives_the_key_to_no_command(taker: Taker, tmp_path: Path) -> None:
    """Everybody on a machine may read the arguments of what runs there."""
    need("sh")
    commands, log = tmp_path / "bin", tmp_path / "arguments"
    commands.mkdir()
    for name in ("awk", "cat", "curl", "date", "mktemp", "od", "openssl", "printf", "rm", "sleep", "tr"):
        wrapper = f'#!/bin/sh\necho {name} "$@" >>{log}\nexec {shutil.which(name)} "$@"\n'
        (commands / name).write_text(wrapper)
        (commands / name).chmod(0o755)
    taker.answers = (503, 202)
    assert sent(SENDERS["sh"], taker.url, PATH=f"{commands}:{os.environ['PATH']}").returncode == 0
    said = log.read_text()
    assert "curl --disable" in said
    assert "openssl dgst" in said
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    for spelled in (SECRET[6:], key.hex(), key[:8].hex(), "printf"):
        assert spelled not in said


# Receiving


@dataclass
class Receiver:
    """A receiver that runs, and its inbox."""

    url: str
    inbox: Path

    def post(self, body: bytes, webhook_id: str = "msg_1", secret: str = SECRET, **headers: str) -> int:
        signed = signing.sign([secret], webhook_id, int(time.time()), body)
        return self.post_raw(body, {**signed, **{name.replace("_", "-"): headers[name] for name in headers}})

    def post_raw(self, body: bytes, headers: Mapping[str, str]) -> int:
        return requests.post(self.url, data=body, headers=dict(headers), timeout=PATIENCE_S).status_code

    def kept(self) -> list[bytes]:
        return [file.read_bytes() for file in self.inbox.iterdir()]


@contextmanager
def receiving(language: str, folder: Path, secrets: str) -> Iterator[Receiver]:
    port = free_port()
    environ = {"PROVISIONER_SECRET": secrets, "PROVISIONER_INBOX": str(folder / "inbox")}
    (folder / "inbox").mkdir(mode=0o700)
    with Group(
        RECEIVERS[language](port),
        env={**os.environ, **environ}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ):  # fmt: skip
        wait_until(lambda: answers(port))
        yield Receiver(f"http://127.0.0.1:{port}/provisioning", folder / "inbox")


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


OLD = a_secret(mark=b"old")
DELIVERY = b'{"type":"service.provisioned","data":{"service_id":"1001","password":"p\xc3\xbc"}}'


@pytest.fixture(scope="module", params=RECEIVERS)
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    need(request.param)
    with receiving(request.param, tmp_path_factory.mktemp("shop"), f"{SECRET}\n{OLD}") as receiver:
        yield receiver


@pytest.fixture
def receiver(running: Receiver) -> Receiver:
    for file in running.inbox.iterdir():
        file.unlink()
    return running


def test_authentic_delivery_is_kept_for_its_owner_alone(receiver: Receiver) -> None:
    assert receiver.post(DELIVERY) == 204
    assert receiver.kept() == [DELIVERY]
    (file,) = receiver.inbox.iterdir()
    assert file.name == f"{hashlib.sha256(b'msg_1').hexdigest()}.json"
    assert file.stat().st_mode & 0o777 == 0o600


def test_second_delivery_of_an_id_is_not_kept(receiver: Receiver) -> None:
    assert receiver.post(DELIVERY) == 204
    (file,) = receiver.inbox.iterdir()
    file.write_bytes(b"")  # as it is left once its content is where it belongs
    assert receiver.post(DELIVERY) == 204
    assert receiver.kept() == [b""]
    assert receiver.post(DELIVERY, "msg_2") == 204
    assert sorted(receiver.kept()) == [b"", DELIVERY]


def test_either_secret_and_any_signature_will_do(receiver: Receiver) -> None:
    assert receiver.post(DELIVERY, "msg_1", OLD) == 204
    good = signing.sign([SECRET], "msg_2", int(time.time()), DELIVERY)
    several = f"v2,xyz v1,AAAA {good[signing.SIGNATURE]}"
    assert receiver.post_raw(DELIVERY, {**good, signing.SIGNATURE: several}) == 204
    assert len(receiver.kept()) == 2


def stale(seconds: int) -> dict[str, str]:
    return signing.sign([SECRET], "msg_1", int(time.time()) + seconds, DELIVERY)


def signed_by_hand(timestamp: str, key: bytes = decode_secret(SECRET)) -> dict[str, str]:
    """What our own signer refuses to sign."""
    content = b".".join((b"msg_1", timestamp.encode(), DELIVERY))
    signature = base64.b64encode(hmac.digest(key, content, "sha256")).decode()
    return {signing.ID: "msg_1", signing.TIMESTAMP: timestamp, signing.SIGNATURE: f"v1,{signature}"}


FORGED: dict[str, Callable[[], Mapping[str, str]]] = {
    "another body": lambda: signing.sign([SECRET], "msg_1", int(time.time()), DELIVERY + b" "),
    "another id": lambda: {**stale(0), signing.ID: "msg_2"},
    "another time": lambda: {**stale(0), signing.TIMESTAMP: str(int(time.time()) - 9)},
    "another secret": lambda: signing.sign([a_secret(mark=b"x")], "msg_1", int(time.time()), DELIVERY),
    "five minutes old": lambda: stale(-302),
    "five minutes early": lambda: stale(310),
    "a time that is none": lambda: signed_by_hand(f"{int(time.time())}.5"),
    "no signature": lambda: {**stale(0), signing.SIGNATURE: ""},
    "half a signature": lambda: {**stale(0), signing.SIGNATURE: stale(0)[signing.SIGNATURE][:20]},
    "no headers": dict,
}


@pytest.mark.parametrize("forged", FORGED)
def test_forged_delivery_is_refused(receiver: Receiver, forged: str) -> None:
    assert receiver.post_raw(DELIVERY, FORGED[forged]()) == 401
    assert receiver.kept() == []


def test_delivery_may_be_some_minutes_off(receiver: Receiver) -> None:
    assert receiver.post_raw(DELIVERY, stale(-280)) == 204


def test_what_is_no_delivery_is_refused(receiver: Receiver) -> None:
    assert receiver.post(b"no JSON") == 400
    assert receiver.post(b"1" * ((1 << 20) + 1)) == 413
    assert requests.get(receiver.url, timeout=PATIENCE_S).status_code == 405
    assert receiver.kept() == []


@pytest.mark.parametrize("language", RECEIVERS)
def test_delivery_that_cannot_be_kept_comes_again(language: str, tmp_path: Path) -> None:
    need(language)
    with receiving(language, tmp_path, SECRET) as receiver:
        receiver.inbox.rmdir()
        assert receiver.post(DELIVERY) == 500


@pytest.mark.parametrize("language", RECEIVERS)
@pytest.mark.parametrize("secret", ["whsec_", ""])
def test_receiver_without_a_secret_believes_nobody(language: str, secret: str, tmp_path: Path) -> None:
    """An empty key would let anybody sign."""
    need(language)
    with receiving(language, tmp_path, secret) as receiver:
        assert receiver.post_raw(DELIVERY, signed_by_hand(str(int(time.time())), b"")) in (401, 500)
        assert receiver.kept() == []


# Around a real service


@pytest.mark.parametrize(("senders", "receives"), [(["python", "sh"], "python"), (["php"], "php")])
def test_order_comes_back_as_credentials(
    site: Any, eventually: Any, tmp_path: Path, senders: list[str], receives: str
) -> None:
    for language in senders:
        need(language)
    settings = load(site.config, {})
    secret = settings.billing["shop"].secrets[0].get_secret_value()
    url = f"http://{settings.server.listen}/webhooks/shop"

    def send(language: str, kind: str) -> subprocess.CompletedProcess[str]:
        event = {"type": kind, "data": {"service_id": language, "plan": "vps-s"}}
        words = SENDERS[language], url, f"order-{language}"
        return sent(*words, body=json.dumps(event).encode(), PROVISIONER_SECRET=secret)

    with receiving(receives, tmp_path, secret) as receiver:
        site.replace_setting(site.shop.callback_url, receiver.url)
        site.serve()
        for language in senders:
            first, again = send(language, "order.paid"), send(language, "order.paid")
            assert (first.returncode, again.returncode) == (0, 0), first.stderr
            assert first.stdout.removeprefix("202 ") == again.stdout.removeprefix("200 ")
            assert send(language, "order.piad").returncode == 1
        eventually(lambda: len(receiver.kept()) == len(senders))
    told = [json.loads(body) for body in receiver.kept()]
    assert {each["type"] for each in told} == {"service.provisioned"}
    assert sorted(each["data"]["service_id"] for each in told) == sorted(senders)
    passwords = {vm["password"] for vm in site.sandbox.state()["vms"]}
    assert {each["data"]["password"] for each in told} == passwords
