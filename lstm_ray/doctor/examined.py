"""All checks of this machine, and of a place for runs. Knows no Ray, and starts nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from lstm_ray.doctor import access, judging
from lstm_ray.doctor.checks import Check
from lstm_ray.doctor.machine import this_machine
from lstm_ray.doctor.ports import ports

AGAIN = re.compile(r",? then give the same command again(: it goes on from here)?")
"""What storage advises a stage that it fails; the doctor has nothing to go on from."""


def here(run_dir: str = "") -> Iterator[Check]:
    """Of this machine, and of a run directory where one is named, each as soon as it is known."""
    yield judging.environment()
    yield from judging.judged(this_machine())
    yield access.token()
    yield access.last_cluster()
    yield from ports()
    if run_dir:
        # A serving image has no pyarrow, which opens storages; without it the rest can still be told.
        from lstm_ray.doctor.storage import storage

        for check in storage(run_dir):
            yield replace(check, text=AGAIN.sub("", check.text))
