"""The config.toml that `provisioner init` writes, short enough to read (contract, section 1)."""

from __future__ import annotations

import base64
import json
import secrets
from dataclasses import dataclass

_TEXT = """\
# The settings of provisioner. config.example.toml has every key with its default and a word about it.
# Any string may be "env:NAME" (from the environment) or "file:PATH" (from a file beside this one).

[server]
listen = {listen}
public_url = {public_url}  # how customers and billing systems reach this service

[security]
admin_token = {admin_token}  # the console's login and the admin API's bearer token

[upstream]
base_url = {upstream_base_url}
token = {upstream_token}

[billing.shop]  # its events come to <public_url>/webhooks/shop
platform = "standard"
secrets = [{webhook_secret}]  # signs events and deliveries: the shop has the same one
callback_url = {callback_url}  # where the shop takes deliveries

[plans.vps-s]
template = {template}
cpu_cores = 1
mem = 1024  # MB
disk = "10G"
ip_count = 1
"""


@dataclass(frozen=True, slots=True, repr=False)
class FreshSecrets:
    """What a new installation needs that nobody else knows; never in a repr."""

    admin_token: str
    webhook_secret: str


def fresh_secrets() -> FreshSecrets:
    """An admin token and a webhook secret of 32 random bytes each."""
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    return FreshSecrets(admin_token=secrets.token_urlsafe(32), webhook_secret=f"whsec_{key}")


def starter(
    fresh: FreshSecrets,
    *,
    public_url: str = "http://127.0.0.1:8080",
    listen: str = "127.0.0.1:8080",
    callback_url: str = "https://shop.example.com/provisioning",
    upstream_base_url: str = "https://reseller.hosterapi.de/api/v1",
    upstream_token: str = "env:VENOCIX_TOKEN",  # noqa: S107 - names a variable, is no token
    template: str = "Debian10.0",
) -> str:
    """The text of a new config.toml; the defaults are the safe answers (`init --yes`).

    :param fresh: from `fresh_secrets`.
    :param public_url: how others reach this service, `listen` (host:port) how it listens.
    :param callback_url: where the first billing system, "shop", takes deliveries.
    :param upstream_token: may be `env:NAME` or `file:PATH`, as every string.
    :param template: what the first plan, "vps-s", installs.
    :returns: TOML for UTF-8; `config.load` judges whether the answers were right.
    """
    return _TEXT.format(
        listen=_quoted(listen),
        public_url=_quoted(public_url),
        admin_token=_quoted(fresh.admin_token),
        upstream_base_url=_quoted(upstream_base_url),
        upstream_token=_quoted(upstream_token),
        webhook_secret=_quoted(fresh.webhook_secret),
        callback_url=_quoted(callback_url),
        template=_quoted(template),
    )


def _quoted(text: str) -> str:
    # JSON's escapes are TOML's too, but for DEL, which JSON writes as it is and TOML refuses.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")
