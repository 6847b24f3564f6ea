"""`serve`: receiver, scheduler and admin API in one process, until it is asked to end."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from importlib import import_module
from typing import TYPE_CHECKING

import click

from provisioner import __version__
from provisioner.cli.client import LOCKED, opened
from provisioner.cli.invocation import Command, Invocation, invoked
from provisioner.cli.stopping import Stop
from provisioner.errors import StoreUnusable

if TYPE_CHECKING:
    from provisioner.config import Settings
    from provisioner.web import Surfaces
    from provisioner.web.server import Serving

DRAIN_S = 10.0  # beyond the upstream's timeout, which bounds the calls that are under way


class StoreInUse(click.ClickException):
    """Another service has the store: wrong use, not a failure (contract, section 1)."""

    exit_code = 2


@click.command(cls=Command)
@invoked
def serve(invocation: Invocation) -> None:
    """Run the service: receiver, scheduler and admin API.

    SIGTERM and Ctrl-C let it finish what it does; a second one ends it at once, which loses nothing either.
    """
    from provisioner.logs import Log

    stop = Stop()
    gc.disable()  # while it starts: nothing of what is made then is ever garbage
    settings = invocation.settings(log_level="info")
    try:
        with serving(settings) as places:
            # What the first call and the first line need comes here, not once its files were replaced.
            import_module("provisioner.line.wire")
            Log(__name__).info("serving", at=places, version=__version__)
            gc.freeze()
            gc.enable()
            click.echo(f"provisioner is ready: {' and '.join(places)}")
            stop.wait()
            click.echo("provisioner ends: what runs is finished first, unless it is asked again")
            _end_within(settings.upstream.timeout + DRAIN_S)
    except StoreUnusable as error:
        if error.code != LOCKED:
            raise
        raise StoreInUse(error.detail) from None


@contextmanager
def serving(settings: Settings) -> Iterator[list[str]]:
    """A running service; at the end it stops accepting, finishes what it does and closes the store.

    :returns: the URLs that it listens at, the public one first.
    :raises StoreUnusable: the store cannot be opened; `store_locked` where another process has it.
    :raises click.ClickException: an address cannot be listened at.
    """
    from provisioner.app import begin, surfaces

    with ExitStack() as stack:
        app = stack.enter_context(closing(opened(settings, updates=True)))
        stack.callback(app.worker.stop)
        servers = _listening(surfaces(app))
        for server in servers:
            stack.callback(server.stop)
        begin(app)
        for server in servers:
            server.start()
        # Events are accepted from here on; what is left of the start waits for no one, and no one for it.
        app.worker.start()
        for server in servers:
            server.complete()
        yield [server.url for server in servers]


def _listening(surfaces: Surfaces) -> list[Serving]:
    """The servers on their sockets: from here on callers queue."""
    from provisioner.web.server import servings

    try:
        return servings(surfaces)
    except OSError as error:
        server = surfaces.settings.server
        places = " or ".join(filter(None, (server.listen, server.admin_listen)))
        words = f"[server] cannot listen at {places}: {error.strerror}"
        raise click.ClickException(words) from None


def _end_within(seconds: float) -> None:
    """Ends the process then, whatever still runs: its leases run out, and the next start goes on with it."""
    bound = threading.Timer(seconds, os._exit, args=(0,))
    bound.daemon = True
    bound.start()
