"""placeholder until the panel's branch comes."""

from provisioner.operation import Operation
from provisioner.store.verbs import Verbs


def left_s(verbs: Verbs, operation: Operation, now: int) -> float | None:
    return None
