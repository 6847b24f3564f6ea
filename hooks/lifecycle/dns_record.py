"""Gives a new VM's hostname its A and AAAA records, and takes them away when the service is terminated.

By dynamic update (RFC 2136), signed (TSIG, RFC 8945), at any name server that takes those: BIND, Knot,
PowerDNS. Customers choose hostnames, so a TXT record beside them says which service a name belongs to: what
this hook did not make is never replaced and never removed, and names outside the zone are left alone.

Needs `pip install 'dnspython>=2.9'`, and in the environment:

    DNS_SERVER   the address of the zone's primary name server, such as 192.0.2.53
    DNS_PORT     where it is not 53
    DNS_ZONE     such as vps.example.com
    DNS_KEY      the name of the key, a colon, and the secret in base64; its algorithm is HMAC-SHA-256
"""

from __future__ import annotations

import hashlib
import os
from ipaddress import ip_address
from typing import TYPE_CHECKING

import dns.name
import dns.query
import dns.rcode
import dns.tsigkeyring
import dns.update

if TYPE_CHECKING:
    from provisioner.lifecycle import ServiceFacts

SERVER = os.environ["DNS_SERVER"]
PORT = int(os.environ.get("DNS_PORT", "53"))
ZONE = dns.name.from_text(os.environ["DNS_ZONE"])
KEY, _, SECRET = os.environ["DNS_KEY"].partition(":")
KEYRING = dns.tsigkeyring.from_text({KEY: SECRET})
TTL_S = 300
TIMEOUT_S = 5.0  # other after-hooks wait for this one


class DnsRefused(Exception):
    """The name server said no, or the name is not this service's."""


def after_create(service: ServiceFacts) -> None:
    name = _in_zone(service.hostname)
    if name is None or not service.ips:
        return
    first, again = _update(), _update()
    first.absent(name)
    again.present(name, "TXT", _mark(service))  # a hook may be called twice
    for update in (first, again):
        update.replace(name, TTL_S, "TXT", _mark(service))
        for kind in ("A", "AAAA"):
            update.delete(name, kind)
        for ip in service.ips:
            update.add(name, TTL_S, "A" if ip_address(ip).version == 4 else "AAAA", ip)
    answer = _answer(first)
    if answer == dns.rcode.YXDOMAIN:
        answer = _answer(again)
    if answer == dns.rcode.NXRRSET:
        raise DnsRefused(f"{service.hostname} is somebody else's; its records were left as they are")
    _check(answer, service)


def after_terminate(service: ServiceFacts) -> None:
    name = _in_zone(service.hostname)
    if name is None or service.status != "terminated":  # it may have been ordered anew meanwhile
        return
    update = _update()
    update.present(name, "TXT", _mark(service))
    for kind in ("A", "AAAA", "TXT"):
        update.delete(name, kind)
    answer = _answer(update)
    if answer != dns.rcode.NXRRSET:  # not ours, or gone already
        _check(answer, service)


def _in_zone(hostname: str) -> dns.name.Name | None:
    name = dns.name.from_text(hostname)
    return name if name != ZONE and name.is_subdomain(ZONE) else None


def _mark(service: ServiceFacts) -> str:
    """Whose a name is, without telling the world the billing system's ids."""
    whose = hashlib.sha256(f"{service.billing}/{service.service_id}".encode())
    return f"provisioner={whose.hexdigest()}"


def _update() -> dns.update.UpdateMessage:
    return dns.update.UpdateMessage(ZONE, keyring=KEYRING)


def _answer(update: dns.update.UpdateMessage) -> dns.rcode.Rcode:
    """Raises a dnspython error where no answer comes in time, or one that is not signed with the key."""
    return dns.query.udp(update, SERVER, port=PORT, timeout=TIMEOUT_S).rcode()


def _check(answer: dns.rcode.Rcode, service: ServiceFacts) -> None:
    if answer != dns.rcode.NOERROR:
        raise DnsRefused(f"the name server answers {dns.rcode.to_text(answer)} for {service.hostname}")
