"""Files behind http(s) addresses, fetched once in a process. Knows nothing of what they hold."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

import httpx

from lstm_ray.errors import InputError

TIMEOUT = httpx.Timeout(60.0, connect=10.0)
"""Seconds without a byte before a server counts as gone."""
PREFIXES = ("http://", "https://")


def is_address(source: str) -> bool:
    return source.lower().startswith(PREFIXES)


@cache
def fetch(address: str) -> Path:
    """The file's content in a temporary file with its own name, that goes with the process.

    Raises InputError where the server cannot be reached or does not have it.
    """
    name = Path(unquote(urlsplit(address).path)).name or "index"
    folder = Path(_folder().name) / hashlib.sha256(address.encode()).hexdigest()[:16]
    folder.mkdir(exist_ok=True)
    file = folder / name
    try:
        with _request("GET", address) as response, file.open("wb") as out:
            for block in response.iter_bytes():
                out.write(block)
    except httpx.HTTPError as error:
        raise _refused(address, error) from None
    except OSError as error:
        raise InputError(
            f"data.source '{address}' cannot be kept in {folder}: {error.strerror}; make room there, or set TMPDIR"
        ) from None
    return file


def version(address: str) -> str:
    """What tells one version of the file from another: the server's word for it, or a hash of the content.

    Raises InputError where the server cannot be reached.
    """
    try:
        with _request("HEAD", address) as response:
            headers = response.headers
    except httpx.HTTPStatusError:
        headers = httpx.Headers()  # some servers refuse HEAD; if the file is not there, GET says so
    except httpx.HTTPError as error:
        raise _refused(address, error) from None
    told = [headers.get(name, "") for name in ("etag", "last-modified")]
    if any(told):
        return " ".join([*told, headers.get("content-length", "")])
    return hashlib.sha256(fetch(address).read_bytes()).hexdigest()


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="lstm-ray-", ignore_cleanup_errors=True)


@contextmanager
def _request(method: str, address: str) -> Iterator[httpx.Response]:
    """A streamed answer, redirects followed, the server's refusals raised."""
    with httpx.stream(method, address, timeout=TIMEOUT, follow_redirects=True) as response:
        yield response.raise_for_status()


def _refused(address: str, error: httpx.HTTPError) -> InputError:
    if isinstance(error, httpx.HTTPStatusError):
        reason = f"the server answered {error.response.status_code} {error.response.reason_phrase}"
    else:
        reason = str(error) or type(error).__name__
    return InputError(
        f"data.source '{address}' cannot be downloaded: {reason}; get the file by other means and pass "
        "--set data.source=FILE"
    )
