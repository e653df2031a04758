"""Where runs and tables are: a path or URI becomes a filesystem, and a name without secrets. Knows nothing of what lies there.

S3 was tried against a server on loopback, GCS only as far as opening and an endpoint that does not answer; HDFS and Azure
never. Credentials belong in the environment; those in a URI are kept in this process alone, and no message shows them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
from pyarrow import fs

from lstm_ray.errors import InputError
from lstm_ray.storage import address, faults, s3
from lstm_ray.storage.address import SCHEMES, Address

OPEN_SECONDS = 30.0
"""Until a place that keeps silent counts as unreachable."""
ATTEMPTS, READ_ATTEMPTS = 2, 5
"""How often pyarrow itself repeats a request: what runs write and read is tried again by storage/faults.py, tables are not."""
RUN, SOURCE = "the run directory", "data.source"
"""What a place is of, for a message."""


@dataclass(frozen=True)
class Place:
    """An opened directory."""

    filesystem: fs.FileSystem
    root: str
    """Inside the filesystem, without a slash at its end."""
    shown: str
    """As people may see it: a path, or a URI without credentials and options."""
    words: str
    """It and the server that was asked."""
    store: str = ""
    """Which server it is on: places of the same name on others are others."""


def opened(given: str | Path) -> Place:
    """A run directory. Raises InputError where it cannot be opened, within a stated time."""
    text = str(given)
    if "://" not in text:
        path = address.local_path(text, RUN)
        return Place(*_by_pyarrow(path, f"{RUN} '{path}'", f"'{path}'"), path, f"'{path}'")
    said = address.known(address.read(text, RUN))
    if said.scheme not in SCHEMES:
        raise InputError(
            f"cannot open {RUN} '{said.shown}': nothing here opens '{said.scheme}://'; name a folder, or one of "
            f"{', '.join(f'{name}://' for name in SCHEMES[:-1])}"
        )
    words = f"'{said.shown}'{s3.asked(said) if said.scheme == 's3' else ''}"
    place = faults.within(lambda: _opened(said, words), OPEN_SECONDS, silent(words))
    if place.store:
        address.require_one_server(said, place.store)
    address.remember(said)
    return place


def to_read(said: Address, base: str) -> Place:
    """A place of tables, which need not be a bucket that may be listed: nothing is asked of it yet, and nothing remembered.

    Args:
        base: where in it to begin, as written: the address may be a glob.
    """
    words, where = f"{SOURCE} '{said.shown}'", replace(said, path=base)
    if said.scheme != "s3":
        return _other(where, words, words)
    words += s3.asked(said)
    try:
        filesystem = s3.filesystem(where, READ_ATTEMPTS)
    except (OSError, ValueError) as error:
        raise _refused(error, words, words) from None
    return Place(filesystem, f"{where.host}{where.inside}", said.shown, words, s3.server(said))


def shown_as(given: str) -> str:
    """A URI without its credentials and options, which are kept for what is opened below it; a path as it is."""
    if "://" not in given:
        return given
    said = address.read(given, "the address")
    address.remember(said)
    return said.shown


def silent(words: str) -> str:
    """What is told of a place that does not answer at all."""
    return (
        f"storage does not answer for {words} (nothing in {OPEN_SECONDS:g} s); "
        "check the endpoint, the region and the network"
    )


def _opened(said: Address, words: str) -> Place:
    place = f"{RUN} '{said.shown}'"
    if said.scheme != "s3":
        return _other(said, place, words)
    try:
        filesystem = s3.filesystem(said, ATTEMPTS)
        if not said.options.get("allow_bucket_creation"):
            s3.require_bucket(filesystem, said.host, words)
    except (OSError, ValueError) as error:
        raise _refused(error, place, words) from None
    return Place(filesystem, f"{said.host}{said.inside}", said.shown, words, s3.server(said))


def _other(said: Address, place: str, words: str) -> Place:
    text, server = said.full, said.options.get("endpoint_override", "")
    if said.scheme == "file":
        text = said.inside
    if said.scheme in ("gs", "gcs"):
        limit = {"retry_limit_seconds": f"{max(1.0, OPEN_SECONDS / 2):.0f}"}
        text = replace(said, options=limit | said.options).full
    return Place(*_by_pyarrow(text, place, words), said.shown, words, server)


def _by_pyarrow(text: str, place: str, words: str) -> tuple[fs.FileSystem, str]:
    try:
        filesystem, root = fs.FileSystem.from_uri(text)
        filesystem.get_file_info(root)
    except (OSError, ValueError, NotImplementedError, pa.ArrowException) as error:
        raise _refused(error, place, words) from None
    return filesystem, root.rstrip("/") or root


def _refused(error: Exception, place: str, words: str) -> InputError:
    if isinstance(error, InputError):
        return error
    if type(error) is pa.ArrowException:
        # What Azure's client throws in C++ comes without a class of its own.
        error = OSError(str(error))
    told = faults.told(error, words) if isinstance(error, OSError) else error
    if isinstance(told, InputError):
        return told
    # pyarrow names the whole URI where it cannot read it.
    reason = str(error).splitlines()[0] if not isinstance(error, pa.ArrowInvalid) or "://" not in str(error) else ""
    return InputError(
        f"cannot open {place}{f': {reason}' if reason else ''}; check the address, its options and its rights"
    )
