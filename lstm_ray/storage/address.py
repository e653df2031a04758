"""Addresses of storage: read by hand, shown without secrets, and remembered with what was said of them. Opens nothing.

``urlsplit`` drops what follows a ``#`` and every line break, so that two addresses would be one place.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlencode

from lstm_ray.errors import InputError, nearest

S3_OPTIONS = ("region", "endpoint_override", "scheme", "allow_bucket_creation", "allow_bucket_deletion")
SCHEMES = ("file", "s3", "gs", "gcs", "hdfs", "viewfs", "abfs", "abfss", "mock")
"""What pyarrow opens; the last holds its objects in memory."""
WITH_BUCKETS = ("s3", "gs", "gcs", "abfs", "abfss")
OPTIONS = re.compile(r"\?([\w.-]+=[^&?]*(?:&[\w.-]+=[^&?]*)*)?$")
CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True)
class Address:
    """Of a place in storage."""

    scheme: str
    """In lower case."""
    host: str
    """Or the bucket, as people may see it; of Azure CONTAINER@ACCOUNT."""
    authority: str
    """The same with what names a user before it."""
    path: str
    """As it was written: empty, or with a slash at its start and none at its end."""
    options: dict[str, str] = field(default_factory=dict)

    @property
    def shown(self) -> str:
        """As people may see it: neither credentials nor options."""
        return f"{self.scheme}://{self.host}{self.path}"

    @property
    def full(self) -> str:
        """As pyarrow reads it."""
        options = f"?{urlencode(self.options)}" if self.options else ""
        return f"{self.scheme}://{self.authority}{quote(self.path, safe='/%:@!$&()*+,;=~')}{options}"

    @property
    def inside(self) -> str:
        """The path that it means."""
        return unquote(self.path)


_given: dict[str, Address] = {}
"""By the name that is shown, the addresses that said more than their name: names made from a run's own say nothing else."""
_servers: dict[tuple[str, str], str] = {}
"""By scheme and bucket, which server it was found on."""


def read(text: str, what: str, globs: bool = False) -> Address:
    """Take an address apart.

    Args:
        what: it is of, for a message.
        globs: whether its path may hold a ``?``.

    Raises InputError where it is none that could be opened.
    """
    scheme, _, rest = text.partition("://")
    clean = CONTROL.sub("?", text)
    if clean != text or "#" in text:
        raise InputError(
            f"{what} '{clean}' has a {'line break' if clean != text else '#'} in it; write %0A and %23, or leave it out"
        )
    query = OPTIONS.search(rest)
    options, rest = dict(parse_qsl(query[1] or "")) if query else {}, rest[: query.start()] if query else rest
    authority, slash, path = rest.partition("/")
    user, _, host = authority.rpartition("@")
    if scheme.lower() in ("abfs", "abfss") and (container := user.partition(":")[0]):
        host = f"{container}@{host}"
    address = Address(scheme.lower(), host, authority, f"{slash}{path}".rstrip("/"), options)
    _require_place(address, what, globs)
    return address


def _require_place(address: Address, what: str, globs: bool) -> None:
    scheme, shown = address.scheme, address.shown
    if scheme == "s3" and ":" in address.host:
        raise InputError(f"{what} has a secret with a '/' in it; write that as %2F, or use the environment")
    if scheme in WITH_BUCKETS and not address.host:
        raise InputError(f"{what} '{shown}' names no bucket; write {scheme}://BUCKET/FOLDER")
    if scheme == "file" and (address.authority or not address.path or address.options):
        raise InputError(f"{what} '{shown}' is no local path; write file:///WHOLE/PATH, or the path alone")
    if "?" in address.path and not globs:
        raise InputError(
            f"{what} '{shown}' has a '?' after which no options (NAME=VALUE) follow; write %3F, or leave it out"
        )
    folders = address.inside.split("/")[1:]
    if (
        scheme in WITH_BUCKETS
        and (odd := next((folder for folder in folders if folder in ("", ".", "..")), None)) is not None
    ):
        raise InputError(f"{what} '{shown}' has a folder named '{odd}', which storage does not know; leave it out")
    if scheme == "s3" and (unknown := sorted(address.options.keys() - {*S3_OPTIONS})):
        raise InputError(f"option '{unknown[0]}' of '{shown}' is none of S3's{nearest(unknown[0], S3_OPTIONS)}")


def known(address: Address) -> Address:
    """The address with what was said of its place, of the nearest above it or else of its bucket, where it says nothing."""
    same = [one for one in _given.values() if (one.scheme, one.host) == (address.scheme, address.host)]
    if not same:
        return address
    above = [one for one in same if f"{address.shown}/".startswith(f"{one.shown}/")]
    before = max(above, key=lambda one: len(one.shown)) if above else same[-1]
    authority = before.authority if address.authority == address.host else address.authority
    return replace(address, authority=authority, options=address.options or before.options)


def remember(address: Address) -> None:
    """What it says beside its name holds from now on for what lies below."""
    if address.options or address.authority != address.host:
        _given.pop(address.shown, None)
        _given[address.shown] = address


def require_one_server(address: Address, server: str) -> None:
    """Raises InputError where its bucket was found on another server: the name that people see is the same for both."""
    before = _servers.setdefault((address.scheme, address.host), server)
    if before != server:
        raise InputError(
            f"'{address.shown}' is to be opened at {server}, but '{address.scheme}://{address.host}' was opened at {before}; "
            "name one endpoint for a bucket, and run two commands for two"
        )


def local_path(text: str, what: str) -> str:
    """A path made whole. Raises InputError where it names nobody's home, or is an address that lacks its slashes."""
    scheme, colon, rest = text.partition(":")
    if colon and scheme.lower() in SCHEMES:
        meant = (
            f"{scheme.lower()}://{'/WHOLE/PATH' if scheme.lower() == 'file' else rest.lstrip('/') or 'BUCKET/FOLDER'}"
        )
        raise InputError(
            f"{what} '{text}' is an address without its slashes; write {meant}, or ./{text} for a local path"
        )
    try:
        return str(Path(text).expanduser().absolute())
    except RuntimeError:
        raise InputError(
            f"{what} '{text}' names a user that this machine does not know; write the whole path"
        ) from None
