"""Every error that the reseller API's documentation shows, word for word, with its status."""

from __future__ import annotations


class Refusal(Exception):
    """An answer of the API that is an error.

    :param status: the HTTP status.
    :param error: what stands under `error` (or in a failed job's output): code, colon, words.
    """

    def __init__(self, status: int, error: str) -> None:
        super().__init__(f"{status} {error}")
        self.status = status
        self.error = error


OVER_LIMITS = "0xb0: Requested resources exceed administrative limits"


def unauthorized() -> Refusal:
    return Refusal(401, "0x03: unauthorized")


def no_vm(vmid: int | str | None) -> Refusal:
    return Refusal(404, f"0x01: no vm with id {vmid} found")


def no_job() -> Refusal:
    return Refusal(404, "0xc1: job not found")


def missing(parameter: str, status: int = 400) -> Refusal:
    """A needed parameter is not there; POST rdns answers that with 401, as documented."""
    return Refusal(status, f"0xb1: Missing required parameter {parameter}")


def invalid(parameter: str) -> Refusal:
    """The documentation shows no such error; 0xb1 is its code for parameters."""
    return Refusal(400, f"0xb1: Invalid parameter {parameter}")


def no_backup() -> Refusal:
    return Refusal(400, "0xa5: no target backup defined")


def over_limits() -> Refusal:
    return Refusal(400, OVER_LIMITS)


def signal_failed(signal: str) -> Refusal:
    return Refusal(500, f"0xa1: failed to send {signal} signal to vm")


def config_failed() -> Refusal:
    return Refusal(500, "0xa1: failed to set config on vm")


def timed_out() -> Refusal:
    return Refusal(500, "0xa3: timeout")
