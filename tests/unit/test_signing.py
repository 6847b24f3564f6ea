"""Standard Webhooks in both directions, held against the published library (contract, section 3)."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64decode, b64encode
from datetime import UTC, datetime, tzinfo
from typing import Self
from unittest.mock import patch

import pytest
import standardwebhooks
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from provisioner.errors import SignatureInvalid
from provisioner.signing import Signer, decode_secret, sign, verify

NEW = "whsec_" + b64encode(b"n" * 32).decode()
OLD = "whsec_" + b64encode(b"o" * 24).decode()
ALIEN = "whsec_" + b64encode(b"a" * 32).decode()
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
NOW = 1_795_435_200
BODY = b'{"type": "order.paid", "data": {"service_id": "1001"}}'


class Noon(datetime):
    """The library asks the clock; here it is always NOW."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Self:
        return cls.fromtimestamp(NOW, tz)


def signed(
    webhook_id: str = "msg_1",
    timestamp: str = str(NOW),
    *,
    secret: str = NEW,
    body: bytes = BODY,
    digest: str = "sha256",
) -> dict[str, str]:
    """What a sender makes who knows the secret, whatever else it does wrong."""
    key = b64decode(secret.removeprefix("whsec_"))
    mac = hmac.new(key, f"{webhook_id}.{timestamp}.".encode() + body, digest).digest()
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{b64encode(mac).decode()}",
    }


def refused(headers: dict[str, str], body: bytes = BODY, now_s: int = NOW) -> str:
    with pytest.raises(SignatureInvalid) as raised:
        verify([NEW], headers, body, now_s)
    return raised.value.public


class TestAgainstTheLibrary:
    @unhurried
    @given(body=st.text(st.characters(codec="utf-8")), webhook_id=st.from_regex(r"\A[!-~]{1,40}\Z"))
    def test_library_verifies_what_we_sign(self, body: str, webhook_id: str) -> None:
        headers = sign([NEW], webhook_id, NOW, body.encode())
        with patch("standardwebhooks.webhooks.datetime", Noon):
            standardwebhooks.Webhook(NEW).verify(body, headers, json_parse=False)

    @unhurried
    @given(body=st.text(st.characters(codec="utf-8")), webhook_id=st.from_regex(r"\A[!-~]{1,40}\Z"))
    def test_we_verify_what_library_signs(self, body: str, webhook_id: str) -> None:
        moment = datetime.fromtimestamp(NOW, UTC)
        headers = {
            "webhook-id": webhook_id,
            "webhook-timestamp": str(NOW),
            "webhook-signature": standardwebhooks.Webhook(NEW).sign(webhook_id, moment, body),
        }
        assert verify([NEW], headers, body.encode(), NOW) == webhook_id

    def test_library_refuses_our_older_secret(self) -> None:
        headers = sign([NEW, OLD], "msg_1", NOW, BODY)
        with patch("standardwebhooks.webhooks.datetime", Noon):
            standardwebhooks.Webhook(NEW).verify(BODY, headers)
            with pytest.raises(standardwebhooks.WebhookVerificationError):
                standardwebhooks.Webhook(OLD).verify(BODY, headers)


class TestSign:
    def test_first_secret_alone_signs(self) -> None:
        assert sign([NEW, OLD], "msg_1", NOW, BODY) == signed(secret=NEW)
        assert sign([OLD, NEW], "msg_1", NOW, BODY) == signed(secret=OLD)

    @pytest.mark.parametrize("webhook_id", ["", " a", "a ", "a\n", "ä", "a" * 256])
    def test_id_nobody_accepts_is_refused(self, webhook_id: str) -> None:
        with pytest.raises(ValueError, match="webhook-id"):
            sign([NEW], webhook_id, NOW, BODY)

    @pytest.mark.parametrize("timestamp_s", [-1, 10**12])
    def test_time_nobody_accepts_is_refused(self, timestamp_s: int) -> None:
        with pytest.raises(ValueError, match="webhook-timestamp"):
            sign([NEW], "msg_1", timestamp_s, BODY)


class TestVerify:
    def test_any_secret_of_ours_verifies(self) -> None:
        assert verify([NEW, OLD], signed(secret=OLD), BODY, NOW) == "msg_1"
        assert verify([NEW, OLD], signed(secret=NEW), BODY, NOW) == "msg_1"

    def test_header_names_match_in_any_case(self) -> None:
        headers = {name.title(): value for name, value in signed().items()} | {"Host": "example.com"}
        assert verify([NEW], headers, BODY, NOW) == "msg_1"

    @pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
    def test_missing_header_is_named(self, name: str) -> None:
        headers = signed()
        del headers[name]
        assert refused(headers) == f"{name} is missing or malformed"

    @pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
    def test_header_given_twice_is_refused(self, name: str) -> None:
        assert refused(signed() | {name.upper(): signed()[name]}) == f"{name} is missing or malformed"

    @pytest.mark.parametrize("webhook_id", ["a", "!", "~", "a b", "a.1.b", "a" * 255, "a" + " " * 253 + "b"])
    def test_id_in_range_is_returned(self, webhook_id: str) -> None:
        assert verify([NEW], signed(webhook_id), BODY, NOW) == webhook_id

    @pytest.mark.parametrize(
        "webhook_id", ["", " ", " a", "a ", "a" * 256, "a\n", "\x1fa", "a\x7f", "ä", "a\tb"]
    )
    def test_malformed_id_is_refused(self, webhook_id: str) -> None:
        assert refused(signed(webhook_id)) == "webhook-id is missing or malformed"

    @pytest.mark.parametrize("off", [-300, -1, 0, 1, 300])
    def test_time_within_tolerance_is_fresh(self, off: int) -> None:
        assert verify([NEW], signed(timestamp=str(NOW + off)), BODY, NOW) == "msg_1"

    @pytest.mark.parametrize("off", [-NOW, -301, 301, 10**11])
    def test_time_beyond_tolerance_is_refused(self, off: int) -> None:
        assert refused(signed(timestamp=str(NOW + off))) == "webhook-timestamp is more than 300 s off"

    @pytest.mark.parametrize(
        "timestamp",
        [
            "", "x", f"+{NOW}", f"-{NOW}", f" {NOW}", f"{NOW} ", f"{NOW}\n", f"{NOW}.0", f"{NOW:_}",
            f"{NOW:e}", "".join(chr(0x660 + int(digit)) for digit in str(NOW)), "0" * 3 + str(NOW),
            "9" * 10_000,
        ],
    )  # fmt: skip
    def test_time_in_other_than_digits_is_refused(self, timestamp: str) -> None:
        assert refused(signed(timestamp=timestamp)) == "webhook-timestamp is missing or malformed"

    def test_time_is_signed_as_it_was_written(self) -> None:
        padded = signed(timestamp=f"00{NOW}")
        assert verify([NEW], padded, BODY, NOW) == "msg_1"
        assert refused(padded | {"webhook-timestamp": str(NOW)}) == "no signature fits"

    @pytest.mark.parametrize(
        ("headers", "body"),
        [
            (signed(secret=ALIEN), BODY),
            (signed("msg_2") | {"webhook-id": "msg_1"}, BODY),
            (signed(timestamp=str(NOW - 1)) | {"webhook-timestamp": str(NOW)}, BODY),
            (signed(), BODY + b" "),
            (signed(), b""),
            (signed(digest="sha1"), BODY),
            (signed(digest="sha512"), BODY),
        ],
        ids=["secret", "id", "time", "body", "no body", "sha1", "sha512"],
    )
    def test_signature_over_anything_else_fails(self, headers: dict[str, str], body: bytes) -> None:
        assert refused(headers, body) == "no signature fits"

    def test_itsdangerous_default_digest_fails(self) -> None:
        sha1_in_32_bytes = (
            hmac.new(b"n" * 32, f"msg_1.{NOW}.".encode() + BODY, hashlib.sha1).digest() + b"\0" * 12
        )
        forged = f"v1,{b64encode(sha1_in_32_bytes).decode()}"
        assert refused(signed() | {"webhook-signature": forged}) == "no signature fits"

    @pytest.mark.parametrize(
        "frame",
        [
            "{}", "{} ", " {}", "   {}   ", "v1,junk {}", "{} v1,junk", "v2,abc {}", "v1a,abc  {}", "é {}",
            "{} \ud800", "v1 {}", ", {}", "v1,,, {}", "v1,a,b {}", "a\tb {}", "v1,====  {} v1,",
            "x" * 8144 + " {}",
        ],
    )  # fmt: skip
    def test_one_valid_signature_is_enough(self, frame: str) -> None:
        headers = signed()
        headers["webhook-signature"] = frame.format(headers["webhook-signature"])
        assert verify([NEW], headers, BODY, NOW) == "msg_1"

    @pytest.mark.parametrize(
        "change",
        [
            lambda item: item.replace("v1,", "v2,"),
            lambda item: item.replace("v1,", "V1,"),
            lambda item: item.replace("v1,", "v1,,"),
            lambda item: item.replace("v1,", ""),
            lambda item: item.rstrip("="),
            lambda item: item + "=",
            lambda item: item + "\t",
            lambda item: item + ",",
            lambda item: item[:20] + "\n" + item[20:],
            lambda item: item[:20] + "!" + item[20:],
            lambda item: item.replace(item[-2], chr(ord(item[-2]) + 1)),
            lambda item: "\u00a0" + item,
            lambda item: "v1," + b64decode(item[3:]).hex(),
        ],
    )
    def test_malformed_signature_matches_nothing(self, change) -> None:  # type: ignore[no-untyped-def]
        good = signed()["webhook-signature"]
        assert change(good) != good
        assert refused(signed() | {"webhook-signature": change(good)}) == "no signature fits"

    def test_stray_bits_in_base64_match_nothing(self) -> None:
        good = signed()["webhook-signature"]
        alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
        stray = good[:-2] + alphabet[alphabet.index(good[-2]) + 1] + "="
        assert b64decode(stray[3:], validate=True) == b64decode(good[3:])
        assert refused(signed() | {"webhook-signature": stray}) == "no signature fits"

    def test_urlsafe_base64_matches_nothing(self) -> None:
        bodies = (b"%d" % n for n in range(100))
        body = next(body for body in bodies if "+" in signed(body=body)["webhook-signature"])
        headers = signed(body=body)
        headers["webhook-signature"] = headers["webhook-signature"].replace("+", "-").replace("/", "_")
        assert refused(headers, body) == "no signature fits"

    def test_endless_signatures_are_refused(self) -> None:
        headers = signed()
        headers["webhook-signature"] = headers["webhook-signature"].ljust(8193)
        assert refused(headers) == "webhook-signature is missing or malformed"

    def test_many_signatures_cost_one_hmac(self) -> None:
        headers = signed()
        headers["webhook-signature"] = f"v1,{b64encode(bytes(32)).decode()} " * 100
        signer = Signer([NEW, OLD])
        with patch("itsdangerous.signer.hmac.new", wraps=hmac.new) as made, pytest.raises(SignatureInvalid):
            signer.verify(headers, BODY, NOW)
        assert made.call_count == 2

    @unhurried
    @given(
        st.fixed_dictionaries({}, optional=dict.fromkeys(signed(), st.text())),
        st.binary(),
        st.integers(),
    )
    def test_arbitrary_headers_are_refused_only(
        self, headers: dict[str, str], body: bytes, now_s: int
    ) -> None:
        with pytest.raises(SignatureInvalid):
            verify([NEW], headers, body, now_s)

    @unhurried
    @given(
        name=st.sampled_from(sorted(signed())),
        value=st.text()
        | st.text("v1,= .ABab019+/")
        | st.lists(st.sampled_from(["v1", "v1,", ",", "=", "v1,AAAA", "é", "\ud800", "0"])).map(" ".join)
        | st.integers(0, 10**6).map(lambda size: "v1," * size),
    )
    def test_one_arbitrary_header_is_refused_only(self, name: str, value: str) -> None:
        if value.strip() != signed()[name]:
            refused(signed() | {name: value})


class TestSecrets:
    def test_key_is_decoded_from_base64(self) -> None:
        assert decode_secret(NEW) == b"n" * 32
        assert decode_secret(OLD) == b"o" * 24

    @pytest.mark.parametrize(
        "secret",
        [
            "", "whsec_", "n" * 40, NEW.removeprefix("whsec_"), NEW.upper(), "whsk_" + NEW[6:],
            NEW + " ", NEW.rstrip("="), "whsec_" + b64encode(b"o" * 23).decode(), "whsec_" + "-_" * 20,
            "whsec_é" + NEW[6:], "whsec_" + NEW,
        ],
    )  # fmt: skip
    def test_malformed_secret_is_refused_unseen(self, secret: str) -> None:
        with pytest.raises(ValueError, match="at least 24 bytes") as raised:
            decode_secret(secret)
        assert len(secret) < 8 or secret[6:] not in str(raised.value)
        assert raised.value.__cause__ is None
        assert raised.value.__context__ is None

    def test_no_secret_is_an_error(self) -> None:
        with pytest.raises(ValueError, match="at least one"):
            Signer([])

    def test_signer_shows_no_key(self) -> None:
        assert "nnnn" not in repr(Signer([NEW]))
        assert NEW not in repr(Signer([NEW]))

    def test_signer_decodes_its_secrets_once(self) -> None:
        signer = Signer([NEW, OLD])
        with patch("provisioner.signing.decode_secret", side_effect=AssertionError):
            assert signer.verify(signer.sign("msg_1", NOW, BODY), BODY, NOW) == "msg_1"
