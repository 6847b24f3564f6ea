"""Where a request comes from, for the audit."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from ipaddress import IPv6Address, ip_address

from flask import request

from provisioner.audit import LOCAL, Origin

LOCAL_USER = "provisioner.local_user"  # set by the command line for itself; no header can set it
_WITH_PORT = re.compile(r"\[([^\]]+)\](?::\d+)?|([^:]+):\d+")  # as some proxies forward an address


def origin() -> Origin:
    """The present request's.

    The address is the caller's, or the one that the last trusted proxy saw: `[server] trusted_proxies` says
    how many stand in front, and the server has taken off what others forwarded. Where that is no address, it
    is the one of who forwarded it.
    """
    if LOCAL_USER in request.environ:
        return Origin(LOCAL, str(request.environ[LOCAL_USER]))
    return Origin(address_of(request.remote_addr or "") or peer())


def peer() -> str:
    """The address that speaks to this process: no header changes it. Behind a proxy, the proxy's."""
    own: Mapping[str, str | None] = request.environ.get("werkzeug.proxy_fix.orig", request.environ)
    return address_of(own.get("REMOTE_ADDR") or "")


@lru_cache(maxsize=256)  # the same few billing systems call all day
def address_of(text: str) -> str:
    """An IP address as it is written shortest, '' where the text is none."""
    match = _WITH_PORT.fullmatch(text.strip())
    try:
        address = ip_address(match[1] or match[2] if match else text.strip())
    except ValueError:
        return ""
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(address)
