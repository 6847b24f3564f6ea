"""What a single value of the settings may be, and the words that say so when it is something else.

No message ever holds the value itself: a secret may have been written at the wrong key.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from importlib.resources import files
from importlib.resources.abc import Traversable
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from cryptography.fernet import Fernet
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    SecretStr,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic_core import PydanticCustomError

from provisioner.service import disk_megabytes
from provisioner.signing import decode_secret

MASK = "••••"
SQLITE = "sqlite:///"
POSTGRESQL = "postgresql://"
DAY = 86400
YEAR = 365 * DAY
_KINDS = {str: "a string", bool: "true or false", int: "a whole number", float: "a decimal number"} | {
    list: "a list",
    dict: "a table",
}
_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
IMAGES = frozenset({".png", ".svg", ".jpg", ".jpeg", ".webp", ".gif"})
ENGLISH = "en"  # what the panel's sentences are written in; each other language is a file beside it
_LANGUAGE_FILES = files("provisioner").joinpath("web", "panel", "languages")
LANGUAGES = (
    ENGLISH,
    *sorted(file.name.removesuffix(".po") for file in _LANGUAGE_FILES.iterdir() if file.name.endswith(".po")),
)
_HOST = re.compile(rf"{_LABEL}(\.{_LABEL})*")


def kind(value: object) -> str:
    """What a TOML value is, in words."""
    return _KINDS.get(type(value), "a date or time")


def shown(name: str) -> str:
    """A key or a path as a line of text can hold it, whatever characters it has."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name)


def must_be(right: str, holds: Callable[[Any], object] = lambda value: True) -> WrapValidator:
    """A check that says in one line what is wrong with a value and what would be right.

    :param right: what would be right; follows "must be".
    :param holds: is given the value (a secret's text) once its type is right; false or ValueError refuses it.
    """

    def check(value: Any, inner: ValidatorFunctionWrapHandler) -> Any:
        if value is None:
            raise _wrong("is needed", right)
        try:
            found = inner(value)
        except ValidationError as error:
            faults = error.errors(include_url=False, include_input=False)
            if any(fault["loc"] or fault["type"] == "wrong_value" for fault in faults):
                raise  # an item of the list, or a stricter check below, has words of its own
            of_kind = faults[0]["type"].endswith("_type")
            raise _wrong(f"is {kind(value)}" if of_kind else "does not fit", right) from None
        if not _holds(holds, found):
            raise _wrong(_unfit(found), right)
        return found

    return WrapValidator(check)


def _wrong(what: str, right: str) -> PydanticCustomError:
    return PydanticCustomError("wrong_value", "{words}", {"words": f"{what}; must be {right}"})


def _holds(holds: Callable[[Any], object], found: Any) -> bool:
    try:
        return bool(holds(_text(found)))
    except ValueError:
        return False


def _unfit(found: Any) -> str:
    if isinstance(found, int | float):
        return "is out of range"
    return "does not fit" if _text(found) else "is empty"


def _text(found: Any) -> Any:
    return found.get_secret_value() if isinstance(found, SecretStr) else found


def whole(least: int, most: int) -> WrapValidator:
    """A whole number from `least` to `most`."""
    return must_be(f"a whole number from {least} to {most}", lambda number: least <= number <= most)


def seconds(most: int, *, zero: bool = False) -> WrapValidator:
    """A number of seconds up to `most`, above 0 unless `zero` is right too."""
    right = f"a number of seconds {'from 0' if zero else 'above 0 and up'} to {most}"
    return must_be(right, lambda number: 0 < number <= most or (zero and number == 0))


def host_and_port(address: str) -> tuple[str, int]:
    """The parts of `host:port`; an IPv6 host stands in brackets there and without them here.

    :raises ValueError: if it is no such address. Port 0, any free one, is allowed (contract, section 2).
    """
    host, _, port = address.rpartition(":")
    if not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
        raise ValueError("no port from 0 to 65535")
    if host.startswith("[") and host.endswith("]"):
        return str(IPv6Address(host[1:-1])), int(port)
    if re.fullmatch(r"[0-9.]+", host):
        return str(IPv4Address(host)), int(port)
    if not _HOST.fullmatch(host):
        raise ValueError("no host")
    return host, int(port)


def _web_address(url: str, *, query: bool = True) -> bool:
    if not url.isprintable() or " " in url or "#" in url or ("?" in url and not query):
        return False
    parts = urlsplit(url)
    host, _port = parts.hostname, parts.port  # a port out of range raises ValueError
    # A user and password in the address would replace the bearer token that requests sends.
    return parts.scheme in {"http", "https"} and bool(host) and "@" not in parts.netloc


def _optional_web_address(url: str) -> bool:
    return url == "" or _web_address(url)


def _support_address(url: str) -> bool:
    # It becomes a link in the panel, where javascript: and the like would run.
    return _optional_web_address(url) or bool(re.fullmatch(r"mailto:[!-~]+@[!-~]+", url))


def _logo(logo: str) -> bool:
    if logo.startswith(("http://", "https://")):
        return _web_address(logo)
    return logo == "" or (Path(logo).suffix.lower() in IMAGES and _line(logo) and "://" not in logo)


def _absolute_logo(logo: str, info: ValidationInfo) -> str:
    is_file = logo and not logo.startswith(("http://", "https://"))
    return str(_from_folder(logo, info)) if is_file else logo


def language_file(code: str) -> Traversable:
    """Where the client panel's sentences are in a language other than English."""
    return _LANGUAGE_FILES.joinpath(f"{code}.po")


def _store_address(url: str) -> bool:
    if url.startswith(POSTGRESQL):
        return url != POSTGRESQL and url.isprintable() and " " not in url
    path = url.removeprefix(SQLITE)
    file = path not in {"", ":memory:"} and "?" not in path and not path.endswith("/")
    return url.startswith(SQLITE) and file and url.isprintable()


def _line(text: str) -> bool:
    return not re.search(r"[\x00-\x1f\x7f\ud800-\udfff]", text)


def _printable(text: str) -> bool:
    return text.isprintable() and text == text.strip() and 1 <= len(text) <= 255


def _own_address(url: object, info: ValidationInfo) -> object:
    # Where `listen` itself is wrong the settings are refused anyway, whatever stands here.
    return f"http://{info.data.get('listen', 'localhost')}" if url == "" else url


def _without_slash(url: str) -> str:
    return url.rstrip("/")


def _from_folder(path: str, info: ValidationInfo) -> Path:
    return (Path((info.context or {}).get("folder", ".")) / path).absolute()


def _folder(path: object, info: ValidationInfo) -> Path | None:
    if not isinstance(path, str):
        raise PydanticCustomError("path_type", "no string")
    if not _line(path):
        raise ValueError("no path")
    return _from_folder(path, info) if path else None


def _absolute_store(url: SecretStr, info: ValidationInfo) -> SecretStr:
    text = url.get_secret_value()
    if text.startswith(POSTGRESQL):
        return url
    return SecretStr(SQLITE + str(_from_folder(text.removeprefix(SQLITE), info)))


def _masked(secret: SecretStr) -> str:
    return MASK if secret.get_secret_value() else ""


def _masked_store(url: SecretStr) -> str:
    text = url.get_secret_value()
    return text if text.startswith(SQLITE) else POSTGRESQL + MASK


def _short(duration: float) -> Any:
    return int(duration) if duration == int(duration) else duration


# A key without a default: its absence is checked like a wrong value, so that it gets the same words.
NEEDED: Any = Field(default=None, validate_default=True)
# A table that may be left out is checked as an empty one, so that what it needs is still named.
EMPTY: Any = Field(default={}, validate_default=True)
AS_LIST = Field(strict=False)  # strictly, a TOML list is no tuple

Text = Annotated[str, must_be("one line of text", _line)]
Switch = Annotated[bool, must_be("true or false")]
Seconds = Annotated[float, PlainSerializer(_short)]
Name = Annotated[
    str,
    must_be(
        "named with 1 to 64 characters from a-z, 0-9, '.', '_' and '-', a letter or digit first",
        re.compile(r"[a-z0-9][a-z0-9._-]{0,63}").fullmatch,
    ),
]
AdminName = Annotated[
    Name, must_be('another name: "admin" is the one with admin_token', lambda name: name != "admin")
]
TemplateName = Annotated[str, must_be("a template's name, such as Debian10.0", _printable)]

Address = Annotated[str, must_be("host:port, such as 127.0.0.1:8080 or [::1]:8080", host_and_port)]
OptionalAddress = Annotated[
    str, must_be("empty or host:port", lambda address: address == "" or host_and_port(address))
]
BareUrl = Annotated[
    str,
    must_be(
        "an http:// or https:// address without user, query or fragment",
        lambda url: _web_address(url, query=False),
    ),
    AfterValidator(_without_slash),
]
PublicUrl = Annotated[BareUrl, BeforeValidator(_own_address)]
WebUrl = Annotated[str, must_be("an http:// or https:// address without user or fragment", _web_address)]
OptionalWebUrl = Annotated[str, must_be("empty or an http:// or https:// address", _optional_web_address)]
Logo = Annotated[
    str,
    must_be(
        "empty, an http:// or https:// address, or the path of an image (.png, .svg, .jpg, .webp, .gif), "
        "relative to this file's folder",
        _logo,
    ),
    AfterValidator(_absolute_logo),
]
SupportUrl = Annotated[str, must_be("empty, an http:// or https:// address or mailto:", _support_address)]
Folder = Annotated[
    Path | None, BeforeValidator(_folder), must_be("empty or a folder's path, relative to this file's folder")
]

Secret = Annotated[SecretStr, PlainSerializer(_masked)]
OptionalSecret = Annotated[Secret, must_be("one line of text", _line)]
ApiToken = Annotated[
    Secret,
    must_be('the reseller account\'s token, or "env:VENOCIX_TOKEN"', re.compile(r"[!-~]+").fullmatch),
]
AdminToken = Annotated[
    Secret,
    must_be(
        "visible ASCII characters without spaces, better 32 or more; `provisioner init` makes such ones",
        re.compile(r"[!-~]+").fullmatch,
    ),
]
FernetKey = Annotated[Secret, must_be("a Fernet key: 32 bytes in URL-safe base64", Fernet)]
WebhookSecret = Annotated[Secret, must_be("whsec_ and the base64 of at least 24 random bytes", decode_secret)]
AlertUrl = Annotated[
    Secret,
    must_be("an Apprise address, such as mailto://…", re.compile(r"[a-z0-9+.-]+://[^\s]+").fullmatch),
]
HeartbeatUrl = Annotated[Secret, must_be("empty or an http:// or https:// address", _optional_web_address)]
StoreUrl = Annotated[
    SecretStr,
    PlainSerializer(_masked_store),
    must_be("sqlite:/// and a file's path, or postgresql://user:password@host/database", _store_address),
    AfterValidator(_absolute_store),
]

CpuCores = Annotated[int, whole(1, 1024)]
Mem = Annotated[int, whole(64, 4194304)]
Disk = Annotated[str, must_be('a whole number from 1 to 99999 with M, G or T, such as "10G"', disk_megabytes)]
IpCount = Annotated[int, whole(1, 256)]
Colour = Annotated[str, must_be('a colour such as "#2563eb"', re.compile(r"#[0-9a-fA-F]{6}").fullmatch)]
Language = Annotated[
    str,
    must_be(f"a language of the panel: {', '.join(json.dumps(code) for code in LANGUAGES)}", LANGUAGES.count),
]
