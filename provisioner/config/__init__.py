"""The settings: config.toml, read and checked whole (contract, section 2)."""

from provisioner.config.settings import (
    Admin,
    AlertSettings,
    AnyBilling,
    Billing,
    HookSettings,
    Limits,
    Panel,
    Plan,
    RetentionSettings,
    RetrySettings,
    SafetySettings,
    SecuritySettings,
    ServerSettings,
    Settings,
    StandardBilling,
    StoreSettings,
    Template,
    UpstreamSettings,
    WhmcsBilling,
)
from provisioner.config.source import load, parse
from provisioner.config.starter import FreshSecrets, fresh_secrets, starter
from provisioner.config.values import host_and_port

__all__ = [
    "Admin",
    "AlertSettings",
    "AnyBilling",
    "Billing",
    "FreshSecrets",
    "HookSettings",
    "Limits",
    "Panel",
    "Plan",
    "RetentionSettings",
    "RetrySettings",
    "SafetySettings",
    "SecuritySettings",
    "ServerSettings",
    "Settings",
    "StandardBilling",
    "StoreSettings",
    "Template",
    "UpstreamSettings",
    "WhmcsBilling",
    "fresh_secrets",
    "host_and_port",
    "load",
    "parse",
    "starter",
]
