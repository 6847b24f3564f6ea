"""The heartbeat: one `GET` that says "I am alive" to whoever raises the alarm when it stays away."""

from __future__ import annotations

import requests

from provisioner import __version__
from provisioner.errors import NotSent

TIMEOUT_S = 10.0  # for the connection, and then for the answer


class HttpHeartbeat:
    """Calls one address, which is a secret: whoever knows it can keep the alarm silent."""

    def __init__(self, url: str, timeout_s: float = TIMEOUT_S) -> None:
        self._url = url
        self._timeout_s = timeout_s

    def __call__(self) -> None:
        """Calls it once; any 2xx is good, a redirect is not followed.

        :raises NotSent: nobody answered so.
        """
        try:
            with requests.Session() as session:
                session.trust_env = False
                session.headers["User-Agent"] = f"provisioner/{__version__}"
                status = self._status(session)
        except (requests.RequestException, ValueError) as error:  # their words hold the address
            raise NotSent(f"no answer ({type(error).__name__})") from None
        if not 200 <= status < 300:
            raise NotSent(f"answered {status}, and only a 2xx counts")

    def _status(self, session: requests.Session) -> int:
        with session.get(self._url, timeout=self._timeout_s, allow_redirects=False, stream=True) as answer:
            return answer.status_code
