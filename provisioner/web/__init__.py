"""The HTTP surfaces. Flask stops here: everything below is called with plain values."""

from provisioner.web.application import create_app
from provisioner.web.surfaces import Side, Surfaces

__all__ = ["Side", "Surfaces", "create_app"]
