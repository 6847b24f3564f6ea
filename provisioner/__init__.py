"""From a paid order in the billing system to a running VM, exactly once."""

__version__ = "0.2.0"
