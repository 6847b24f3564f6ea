"""The tables of config.toml and their defaults (contract, section 2). Attributes have the names of the keys.

Durations are seconds, as whole or decimal numbers; retention is in whole days. A secret is a `SecretStr`:
read it with `.get_secret_value()`; its repr and every dump of the settings show only whether it is set.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo

from provisioner.config.values import (
    AS_LIST,
    DAY,
    EMPTY,
    NEEDED,
    SQLITE,
    YEAR,
    Address,
    AdminName,
    AdminToken,
    AlertUrl,
    ApiToken,
    BareUrl,
    Colour,
    CpuCores,
    Disk,
    FernetKey,
    Folder,
    HeartbeatUrl,
    IpCount,
    Language,
    Logo,
    Mem,
    Name,
    OptionalAddress,
    OptionalSecret,
    OptionalWebUrl,
    PublicUrl,
    Seconds,
    StoreUrl,
    SupportUrl,
    Switch,
    TemplateName,
    Text,
    WebhookSecret,
    WebUrl,
    must_be,
    seconds,
    whole,
)
from provisioner.service import Spec

_DAYS = whole(1, 36500)
_PER_HOUR = whole(0, 1_000_000)


class Table(BaseModel):
    """A table of config.toml: a string is no number here, and an unknown key is an error."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)


class ServerSettings(Table):
    """[server]: `public_url` has no slash at its end; `admin_listen` is empty where it is `listen`."""

    listen: Address = "127.0.0.1:8080"
    public_url: PublicUrl = Field(default="", validate_default=True)
    trusted_proxies: Annotated[int, whole(0, 10)] = 0
    admin_listen: OptionalAddress = ""


class StoreSettings(Table):
    """[store]: `url` holds PostgreSQL's password, so it is a secret; `path` is what SQLite needs."""

    url: StoreUrl = Field(default="sqlite:///provisioner.db", validate_default=True)

    @property
    def path(self) -> Path | None:
        """SQLite's file, absolute; None where the store is PostgreSQL."""
        url = self.url.get_secret_value()
        return Path(url.removeprefix(SQLITE)) if url.startswith(SQLITE) else None


class SecuritySettings(Table):
    """[security]: `encryption_keys` is empty where a key file has them (`vault.load_keys`)."""

    admin_token: AdminToken = NEEDED
    encryption_keys: Annotated[tuple[FernetKey, ...], AS_LIST, must_be("a list of Fernet keys")] = ()


class Admin(Table):
    """[admins.<name>]: one more person, and what that person may do."""

    token: AdminToken = NEEDED
    role: Annotated[Literal["read", "support", "admin"], must_be('"read", "support" or "admin"')] = NEEDED


class UpstreamSettings(Table):
    """[upstream]: the account at the reseller, and how patiently it is asked."""

    base_url: BareUrl = "https://reseller.hosterapi.de/api/v1"
    token: ApiToken = NEEDED
    exclusive: Switch = False
    timeout: Annotated[Seconds, seconds(600)] = 30
    max_concurrency: Annotated[int, whole(1, 256)] = 8
    job_poll: Annotated[Seconds, seconds(3600)] = 5
    job_timeout: Annotated[Seconds, seconds(30 * DAY)] = 7200
    settle: Annotated[Seconds, seconds(DAY)] = 120


class RetrySettings(Table):
    """[retry]: waits between the tries of a step, and when they end."""

    first: Annotated[Seconds, seconds(DAY)] = 2
    max: Annotated[Seconds, seconds(DAY)] = 300
    give_up_after: Annotated[Seconds, seconds(YEAR)] = DAY
    deliveries_give_up_after: Annotated[Seconds, seconds(YEAR)] = 7 * DAY
    action_ttl: Annotated[Seconds, seconds(YEAR)] = 900


class SafetySettings(Table):
    """[safety]: the brakes, in operations an hour (0: no limit), and the graces."""

    max_terminations_per_hour: Annotated[int, _PER_HOUR] = 20
    max_suspensions_per_hour: Annotated[int, _PER_HOUR] = 200
    max_creates_per_hour: Annotated[int, _PER_HOUR] = 100
    terminate_grace: Annotated[Seconds, seconds(YEAR, zero=True)] = DAY
    suspend_grace: Annotated[Seconds, seconds(DAY, zero=True)] = 60


class RetentionSettings(Table):
    """[retention]: whole days."""

    bodies: Annotated[int, _DAYS] = 90
    timelines: Annotated[int, _DAYS] = 365
    audit: Annotated[int, _DAYS] = 1095


class AlertSettings(Table):
    """[alerts]: Apprise addresses; they hold tokens, so they are secrets, and so is the heartbeat's."""

    urls: Annotated[tuple[AlertUrl, ...], AS_LIST, must_be("a list of Apprise addresses")] = ()
    heartbeat_url: HeartbeatUrl = Field(default="", validate_default=True)


class HookSettings(Table):
    """[hooks]: the folder of the users' own Python functions, absolute; None where there is none."""

    directory: Folder = None


class Panel(Table):
    """[billing.<name>.panel]: the client panel's white label; `logo` is an address, or a file's path,
    absolute."""

    name: Text = ""
    logo: Logo = ""
    colour: Colour = "#2563eb"
    support_url: SupportUrl = ""
    language: Language = "en"

    @property
    def logo_file(self) -> Path | None:
        """The logo, where it is a file that is served here."""
        return Path(self.logo) if self.logo and not self.logo.startswith(("http://", "https://")) else None


class Billing(Table):
    """[billing.<name>]: what every billing system has; `plans` is empty where it may sell them all."""

    secrets: Annotated[tuple[WebhookSecret, ...], AS_LIST, must_be("a list of whsec_ secrets", len)] = NEEDED
    plans: Annotated[tuple[Name, ...], AS_LIST, must_be("a list of plans' names")] = ()
    panel: Panel = EMPTY

    @property
    def fetches(self) -> bool:
        """Whether it fetches its deliveries, so that none is posted to it."""
        return False


class StandardBilling(Billing):
    """A billing system that takes deliveries at `callback_url` (contract, section 4)."""

    platform: Literal["standard"]
    callback_url: WebUrl = NEEDED


class WhmcsBilling(Billing):
    """WHMCS; with `deliver` = "pull" its API is not called, so that its address and secrets may be empty."""

    platform: Literal["whmcs"]
    api_url: OptionalWebUrl = ""
    identifier: OptionalSecret = Field(default="", validate_default=True)
    secret: OptionalSecret = Field(default="", validate_default=True)
    access_key: OptionalSecret = Field(default="", validate_default=True)
    welcome_email: Text = "New VPS Information"
    on_failure: Annotated[
        Literal["notify", "ticket", "nothing"], must_be('"notify", "ticket" or "nothing"')
    ] = "notify"
    ticket_department: Annotated[int, whole(0, 1_000_000)] = 0
    deliver: Annotated[Literal["push", "pull"], must_be('"push" or "pull"')] = "push"

    @property
    def fetches(self) -> bool:
        return self.deliver == "pull"


PLATFORMS: Mapping[str, type[Billing]] = {"standard": StandardBilling, "whmcs": WhmcsBilling}


class _UnknownBilling(Billing):
    """Never valid: names what is wrong besides the platform, in the keys that every platform has."""

    model_config = ConfigDict(extra="ignore", defer_build=True)  # only a mistake needs it

    platform: Annotated[
        str, must_be(" or ".join(f'"{platform}"' for platform in PLATFORMS), PLATFORMS.__contains__)
    ] = NEEDED


def _of_known_platform(table: object, info: ValidationInfo) -> object:
    if isinstance(table, dict) and table.get("platform") not in tuple(PLATFORMS):
        _UnknownBilling.model_validate(table, context=info.context)
    return table


AnyBilling = Annotated[
    StandardBilling | WhmcsBilling,
    Field(discriminator="platform"),
    BeforeValidator(_of_known_platform),
]


class Limits(Table):
    """`max` of a plan: options beyond it are refused; None where there is no limit."""

    cpu_cores: CpuCores | None = None
    mem: Mem | None = None
    disk: Disk | None = None
    ip_count: IpCount | None = None


class Plan(Table):
    """[plans.<name>]: `mem` in MB, `disk` such as 10G; `templates` empty: what the reseller has."""

    template: TemplateName = NEEDED
    cpu_cores: CpuCores = NEEDED
    mem: Mem = NEEDED
    disk: Disk = NEEDED
    ip_count: IpCount = NEEDED
    label: Text = ""
    templates: Annotated[tuple[TemplateName, ...], AS_LIST, must_be("a list of templates' names")] = ()
    max: Limits = EMPTY
    disk_shrink: Annotated[Literal["refuse", "keep"], must_be('"refuse" or "keep"')] = "refuse"

    def spec(self) -> Spec:
        """What a VM of this plan is to be, before an order's options (contract, section 3)."""
        return Spec(
            template=self.template,
            cpu_cores=self.cpu_cores,
            mem=self.mem,
            disk=self.disk,
            ip_count=self.ip_count,
        )


class Template(Table):
    """[templates.<name>]: how people read a template's name."""

    label: Text = ""


class Settings(Table):
    """config.toml, whole (contract, section 2)."""

    server: ServerSettings = EMPTY
    store: StoreSettings = EMPTY
    security: SecuritySettings = EMPTY
    admins: Mapping[AdminName, Admin] = EMPTY
    upstream: UpstreamSettings = EMPTY
    retry: RetrySettings = EMPTY
    safety: SafetySettings = EMPTY
    retention: RetentionSettings = EMPTY
    alerts: AlertSettings = EMPTY
    hooks: HookSettings = EMPTY
    billing: Mapping[Name, AnyBilling] = EMPTY
    plans: Mapping[Name, Plan] = EMPTY
    templates: Mapping[TemplateName, Template] = EMPTY

    @property
    def fetching(self) -> list[str]:
        """The billing systems that fetch their deliveries."""
        return [name for name, billing in self.billing.items() if billing.fetches]

    def masked(self) -> dict[str, Any]:
        """The settings as read, in JSON's types, with `••••` for each secret that is set."""
        return self.model_dump(mode="json")
