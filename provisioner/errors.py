"""Every error raised on purpose. The class is the decision of what to do next; nobody matches strings.

ProvisionerError
├── SettingsError             the settings are wrong: say so, exit 2
├── SignatureInvalid          a message is not from whom it claims: 401
├── EventMalformed            authentic, but not an event at all: 400, nothing kept
├── EventRejected             authentic, but cannot be carried out: 422 or 403, kept for a person
├── EventIdReused             an accepted id came again with another meaning: 409
├── RequestInvalid            an admin's call has wrong fields: 422
├── NotFound                  nothing of that id: 404
├── WrongState                not possible in this state: 409
├── InstallRefused            a drop-in cannot be put there: nothing was changed
├── StoreError
│   ├── StoreUnavailable      it may or may not have been kept: 503, send again
│   ├── StoreUnusable         locked, newer, corrupt: refuse to start
│   ├── RowUnreadable         one row is damaged, or of a newer version: go on with the others
│   └── Fenced                another worker has the row: drop the result
├── SealBroken                stored credentials do not open: no key fits, or another service's
├── OperationFailed           a step's own verdict: the operation ends `failed`
├── OperationHeld             a step's own verdict: a person must decide
├── UpstreamError
│   ├── UpstreamUnavailable   nothing happened, or nothing that repeating would harm: try later
│   ├── UpstreamOutcomeUnknown  a change was sent and no clear answer came: look first
│   └── UpstreamRefused       it said no: stop, tell a person
│       ├── TokenRefused      the account's token, perhaps: confirm before believing it
│       ├── VmNotFound        gone, if the list agrees
│       └── JobNotFound       the job is lost
├── BillingError
│   ├── BillingUnavailable    try later
│   ├── BillingRefused        it said no; deliveries are tried again all the same
│   └── BillingOutcomeUnknown sent, no clear answer: deliveries may arrive twice, so try again
└── NotSent                   a person was not told, or the heartbeat not called: try later
"""

from __future__ import annotations


class ProvisionerError(Exception):
    """An error with a message for two audiences.

    :param public: safe for a customer's eyes; never names the upstream, never holds a secret.
    :param detail: for the operator; no secrets either. Defaults to `public`.
    :param code: the machine-readable name, as the contract has it.
    """

    code = "error"

    def __init__(self, public: str, *, detail: str = "", code: str = "") -> None:
        super().__init__(detail or public)
        self.public = public
        self.detail = detail or public
        if code:
            self.code = code


class SettingsError(ProvisionerError):
    """Settings that cannot be used; `problems` has one line for each, with its key's path."""

    code = "settings"

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class SignatureInvalid(ProvisionerError):
    code = "unauthorized"


class EventMalformed(ProvisionerError):
    code = "malformed"


class EventRejected(ProvisionerError):
    """An authentic event that cannot be carried out (contract, section 3: 403 and 422)."""

    def __init__(self, public: str, *, code: str, detail: str = "", status: int = 422) -> None:
        super().__init__(public, code=code, detail=detail)
        self.status = status


class EventIdReused(ProvisionerError):
    code = "id_reused"


class RequestInvalid(ProvisionerError):
    code = "invalid_field"


class NotFound(ProvisionerError):
    code = "not_found"


class WrongState(ProvisionerError):
    code = "wrong_state"


class InstallRefused(ProvisionerError):
    code = "install_refused"


class StoreError(ProvisionerError):
    code = "store"


class StoreUnavailable(StoreError):
    code = "store_unavailable"


class StoreUnusable(StoreError):
    code = "store_unusable"


class RowUnreadable(StoreError):
    code = "row_unreadable"


class Fenced(StoreError):
    code = "fenced"


class SealBroken(ProvisionerError):
    """Stored credentials that do not open: no key fits, or they were sealed for another service."""

    code = "seal_broken"


class OperationFailed(ProvisionerError):
    """The operation ends `failed` with this code.

    :param resume: the step at which a person's retry goes on; empty: the one that failed.
    """

    def __init__(self, public: str, *, code: str, detail: str = "", resume: str = "") -> None:
        super().__init__(public, code=code, detail=detail)
        self.resume = resume


class OperationHeld(ProvisionerError):
    """The operation waits for a person, who can approve exactly this `code`.

    :param resume: the step at which an approval goes on; empty: the one that was held.
    """

    def __init__(self, public: str, *, code: str, detail: str = "", resume: str = "") -> None:
        super().__init__(public, code=code, detail=detail)
        self.resume = resume


class UpstreamError(ProvisionerError):
    """Something about a call to the upstream; `code` is the documented one (`0x..`) where it gave one."""

    code = "upstream"


class UpstreamUnavailable(UpstreamError):
    """Nothing happened, or nothing that a repetition would harm.

    :param retry_after_s: the least seconds to wait, where the upstream named them.
    """

    code = "unavailable"

    def __init__(
        self, public: str, *, detail: str = "", code: str = "", retry_after_s: float | None = None
    ) -> None:
        super().__init__(public, detail=detail, code=code)
        self.retry_after_s = retry_after_s


class UpstreamOutcomeUnknown(UpstreamError):
    code = "outcome_unknown"


class UpstreamRefused(UpstreamError):
    code = "refused"


class TokenRefused(UpstreamRefused):
    code = "0x03"


class VmNotFound(UpstreamRefused):
    code = "0x01"


class JobNotFound(UpstreamRefused):
    code = "0xc1"


class BillingError(ProvisionerError):
    code = "billing"


class BillingUnavailable(BillingError):
    code = "billing_unavailable"

    def __init__(
        self, public: str, *, detail: str = "", code: str = "", retry_after_s: float | None = None
    ) -> None:
        super().__init__(public, detail=detail, code=code)
        self.retry_after_s = retry_after_s


class BillingRefused(BillingError):
    code = "billing_refused"


class BillingOutcomeUnknown(BillingError):
    code = "billing_outcome_unknown"


class NotSent(ProvisionerError):
    """A message to a person, or the heartbeat, went nowhere; the address is not in its words."""

    code = "not_sent"
