"""Checks of the place where runs are kept: a small object is written, listed, read, replaced and removed. Knows no stage."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from uuid import uuid4

from lstm_ray.doctor.checks import Check, well
from lstm_ray.doctor.judging import clock, room, skew_seconds
from lstm_ray.doctor.machine import disk
from lstm_ray.errors import InputError, without_credentials
from lstm_ray.run_dir import RunDir
from lstm_ray.storage.places import shown_as

PROBE_BYTES = 4_000_000
SLOW_BYTES_PER_SECOND = 5e6
"""Below which publishing a stage takes longer than most stages."""
NAME = "storage"


def storage(uri: str) -> list[Check]:
    """All checks of a run directory; what was written is removed again."""
    try:
        run = RunDir(uri)
        found = _tried(run)
    except InputError as error:
        return [Check(NAME, "wrong", str(error))]
    except OSError as error:
        advice = "check that the bucket or disk is there, and that these credentials may write, list and delete in it"
        reason = without_credentials(_first_line(error))
        return [Check(NAME, "wrong", f"'{shown_as(uri)}' cannot be used: {reason}", advice)]
    if run.local is not None:
        found.append(room(disk(run.local), "runs"))
    return found


def _tried(run: RunDir) -> list[Check]:
    was_there, folder = run.exists(""), f".doctor-{uuid4().hex[:8]}"
    file = f"{folder}/probe"
    try:
        content, before, started = os.urandom(PROBE_BYTES), time.time(), time.perf_counter()
        run.write_bytes(file, content)
        written, after = time.perf_counter() - started, time.time()
        skew = skew_seconds(before, run.changed_at(file), after)
        started = time.perf_counter()
        got = run.read_bytes(file)
        read = time.perf_counter() - started
        if got != content:
            return [Check(NAME, "wrong", f"'{run.uri}' gave back other bytes than it was given", "mend that storage")]
        run.write_bytes(file, content[:1])
        if run.read_bytes(file) != content[:1]:
            advice = "use a storage that is consistent: what was replaced must not be read again"
            return [Check(NAME, "wrong", f"'{run.uri}' gave back what had been replaced", advice)]
        if run.files(folder) != [file]:
            advice = "allow these credentials to list the bucket"
            return [Check(NAME, "wrong", f"'{run.uri}' does not list what was written", advice)]
    finally:
        run.remove(folder)
        if run.local is not None and not was_there:
            with suppress(OSError):
                run.local.rmdir()
    if run.exists(file):
        return [Check(NAME, "wrong", f"'{run.uri}' keeps what is deleted", "allow these credentials to delete")]
    return [_speed(run.uri, written, read), clock(skew, "the storage")]


def _speed(uri: str, written_seconds: float, read_seconds: float) -> Check:
    to, back = PROBE_BYTES / max(written_seconds, 1e-9), PROBE_BYTES / max(read_seconds, 1e-9)
    text = f"'{uri}' takes {to / 1e6:,.0f} MB/s, gives {back / 1e6:,.0f} MB/s, and lists, replaces and deletes"
    if min(to, back) < SLOW_BYTES_PER_SECOND:
        return Check(NAME, "warning", text, "keep runs in the region, or on the network, of the cluster")
    return well(NAME, text)


def _first_line(error: OSError) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
