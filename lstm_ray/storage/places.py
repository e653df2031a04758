"""Where a run directory is: a path or URI becomes a filesystem, and a name without secrets. Knows nothing of what lies there.

S3 was tried against a server on loopback, GCS only as far as opening and an endpoint that does not answer; HDFS and Azure
never. Credentials belong in the environment; those in a URI are kept in this process alone, and no message shows them.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

import pyarrow as pa
from pyarrow import fs

from lstm_ray.errors import InputError, nearest
from lstm_ray.storage import faults

OPEN_SECONDS = 30.0
"""Until a place that keeps silent counts as unreachable."""
CONNECT_SECONDS, REQUEST_SECONDS, ATTEMPTS = 5.0, 30.0, 2
"""Of one request, and how often pyarrow itself repeats it."""
S3_OPTIONS = ("region", "endpoint_override", "scheme", "allow_bucket_creation", "allow_bucket_deletion")
SCHEMES = ("file", "s3", "gs", "gcs", "hdfs", "viewfs", "abfs", "abfss", "mock")
"""What pyarrow opens; the last holds its objects in memory."""
_given: dict[tuple[str, str], tuple[str, str]] = {}
"""By scheme and bucket: what stood before the @ and after the ? of the URI that named it last. Names made from a run's own
leave both out."""


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


def opened(given: str | Path) -> Place:
    """Raises InputError where the place cannot be opened, within a stated time."""
    text = str(given)
    if "://" not in text:
        path = str(Path(text).expanduser().absolute())
        return Place(*_by_pyarrow(path, path), path, f"'{path}'")
    shown, user, query = _apart(text)
    scheme = shown.partition("://")[0].lower()
    if scheme not in SCHEMES:
        raise InputError(
            f"cannot open the run directory '{shown}': nothing here opens '{scheme}://'; name a folder, or one of "
            f"{', '.join(f'{name}://' for name in SCHEMES[:-1])}"
        )
    if scheme == "s3":
        return faults.within(lambda: _s3(shown, user, query), OPEN_SECONDS, _silent(f"'{shown}'{_at(query)}"))
    if scheme in ("gs", "gcs"):
        query = urlencode({"retry_limit_seconds": f"{max(1.0, OPEN_SECONDS / 2):.0f}"} | dict(parse_qsl(query)))
    before, _, after = shown.partition("://")
    full = f"{before}://{user}{after}" + (f"?{query}" if query else "")
    filesystem, root = faults.within(lambda: _by_pyarrow(full, shown), OPEN_SECONDS, _silent(f"'{shown}'"))
    return Place(filesystem, root, shown, f"'{shown}'")


def shown_as(given: str) -> str:
    """A URI without its credentials and options, which are kept for what is opened below it; a path as it is."""
    return _apart(given)[0] if "://" in given else given


def _apart(text: str) -> tuple[str, str, str]:
    """The URI as people may see it, what stood before its @, and its options."""
    parts = re.fullmatch(r"(?P<scheme>[^:]+)://(?:(?P<user>[^/]*)@)?(?P<rest>[^?]*)(?:\?(?P<query>.*))?", text, re.S)
    if parts is None:
        raise InputError("the run directory's URI cannot be read; write it as s3://BUCKET/FOLDER")
    if parts["scheme"].lower() == "s3" and ":" in parts["rest"].partition("/")[0]:
        raise InputError(
            "the run directory's URI has a secret with a '/' in it; write that as %2F, or use the environment"
        )
    user, query = f"{parts['user']}@" if parts["user"] else "", parts["query"] or ""
    key, shown = (
        (parts["scheme"].lower(), parts["rest"].partition("/")[0]),
        f"{parts['scheme']}://{parts['rest'].rstrip('/')}",
    )
    if user or query:
        # Before they are kept: what is refused here must not be met again.
        if key[0] == "s3" and (unknown := sorted(dict(parse_qsl(query)).keys() - {*S3_OPTIONS})):
            raise InputError(f"option '{unknown[0]}' of '{shown}' is none of S3's{nearest(unknown[0], S3_OPTIONS)}")
        before = _given.get(key, ("", ""))
        _given[key] = (user or before[0], query or before[1])
    return shown, *_given.get(key, ("", ""))


def _silent(words: str) -> str:
    return (
        f"storage does not answer for {words} (nothing in {OPEN_SECONDS:g} s); "
        "check the endpoint, the region and the network"
    )


def _s3(shown: str, user: str, query: str) -> Place:
    """pyarrow's own reading of an address sets no limits of time and leaves out the endpoint of the environment."""
    options: dict[str, Any] = dict(parse_qsl(query))
    options = {k: v == "true" if k.startswith("allow_") else v for k, v in options.items()}
    if user:
        key, _, secret = user.removesuffix("@").partition(":")
        options |= {"access_key": unquote(key), "secret_key": unquote(secret)}
    parts = urlsplit(shown)
    if not options.get("endpoint_override") and (endpoint := _endpoint()):
        options["endpoint_override"] = endpoint
    region = options.get("region") or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    words = f"'{shown}'{_at(query)}"
    try:
        if region is None and "endpoint_override" not in options:
            region = fs.resolve_s3_region(parts.netloc)
        options |= {"region": region} if region else {}
        retry = fs.AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS)
        filesystem = fs.S3FileSystem(
            **options,
            connect_timeout=CONNECT_SECONDS,
            request_timeout=REQUEST_SECONDS,
            retry_strategy=retry,
            # A file of less than a part goes up in one request in place of three.
            allow_delayed_open=True,
        )
        if filesystem.get_file_info(parts.netloc).type == fs.FileType.NotFound and not options.get(
            "allow_bucket_creation"
        ):
            raise InputError(f"storage has no bucket '{parts.netloc}' for {words}; make it, or name one that exists")
    except (OSError, ValueError) as error:
        raise _refused(error, shown, words) from None
    return Place(filesystem, f"{parts.netloc}{unquote(parts.path)}", shown, words)


def _by_pyarrow(text: str, shown: str) -> tuple[fs.FileSystem, str]:
    try:
        filesystem, root = fs.FileSystem.from_uri(text)
        filesystem.get_file_info(root)
    except (OSError, ValueError, NotImplementedError) as error:
        raise _refused(error, shown, f"'{shown}'") from None
    return filesystem, root.rstrip("/") or root


def _refused(error: Exception, shown: str, words: str) -> InputError:
    if isinstance(error, InputError):
        return error
    told = faults.told(error, words) if isinstance(error, OSError) else error
    if isinstance(told, InputError):
        return told
    if isinstance(error, OSError) and "ucket" in str(error) and "not found" in str(error):
        return InputError(f"storage has no bucket for {words}; make it, or name one that exists")
    # pyarrow names the whole URI where it cannot read it.
    reason = str(error).splitlines()[0] if not isinstance(error, pa.ArrowInvalid) or "://" not in str(error) else ""
    return InputError(f"cannot open the run directory '{shown}'{f': {reason}' if reason else ''}")


def _endpoint() -> str:
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""


def _at(query: str) -> str:
    """Which server is asked, for a message."""
    options = dict(parse_qsl(query))
    endpoint = options.get("endpoint_override") or _endpoint()
    region = options.get("region") or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    endpoint = endpoint.rpartition("@")[2] if "://" not in endpoint else endpoint
    where = f"endpoint {endpoint}" if endpoint else "endpoint of AWS"
    return f" ({where}, region {region or 'not set'})"
