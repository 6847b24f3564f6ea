"""A reseller API and a billing system to play with, for tests and for whoever has no token yet.

It stands apart: only the command line and tests import it.
"""

from provisioner.sandbox.billing import BillingStub, Delivery
from provisioner.sandbox.client import SandboxClient
from provisioner.sandbox.server import SandboxServer, run
from provisioner.sandbox.upstream import Sandbox

__all__ = ["BillingStub", "Delivery", "Sandbox", "SandboxClient", "SandboxServer", "run"]
