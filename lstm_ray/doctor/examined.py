"""All checks of this machine, and of a place for runs. Knows no Ray, and starts nothing."""

from __future__ import annotations

from lstm_ray.doctor import access, judging
from lstm_ray.doctor.checks import Check
from lstm_ray.doctor.machine import this_machine
from lstm_ray.doctor.ports import ports


def here(run_dir: str = "") -> list[Check]:
    """Of this machine, and of a run directory where one is named."""
    found = [judging.environment(), *judging.judged(this_machine()), access.token(), access.last_cluster(), *ports()]
    if run_dir:
        # A serving image has no pyarrow, which opens storages; without it the rest can still be told.
        from lstm_ray.doctor.storage import storage

        found += storage(run_dir)
    return found
