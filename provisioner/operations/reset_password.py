"""reset_password: a new root password, made by the upstream and delivered (contract, section 3).

Its answer is the only copy of the password: where it was lost, another reset after `settle` gives one that is
known, and the last one delivered is the one that works.
"""

from __future__ import annotations

from provisioner.operations import Done, Outcome, Run, Steps
from provisioner.operations.judged import living_vm, not_suspended
from provisioner.operations.missing import own_vm
from provisioner.operations.outcome import on_to, send_again
from provisioner.upstream import Credentials


def begin(run: Run) -> Outcome:
    """A suspended VM takes no new password."""
    living_vm(run)
    not_suspended(run)
    return on_to(run, "send")


def send(run: Run) -> Outcome:
    """Asks once."""
    vmid = own_vm(run)
    run.memo["sent_at"] = run.now()
    run.intend("lost")
    password = run.upstream.reset_password(vmid)
    run.credentials = Credentials("root", password)
    data = {"vmid": vmid, "ips": list(run.service.ips), "username": "root"}
    return Done("service.credentials", data, with_credentials=True)


def lost(run: Run) -> Outcome:
    """No answer, so no password: waits until a late one cannot overtake the next, then asks again."""
    look_s = run.settings.upstream.settle  # there is nothing to look at
    return send_again(run, "begin", "The password could not be reset: does the server run?", look_s)


STEPS: Steps = {"begin": begin, "send": send, "lost": lost}
