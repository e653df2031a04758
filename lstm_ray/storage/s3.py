"""S3 and servers that answer as it does: endpoint, region, limits of time. Knows nothing of what lies there.

pyarrow's own reading of an address sets no limits of time and leaves out the endpoint of the environment.
"""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import unquote

from pyarrow import fs

from lstm_ray.errors import InputError
from lstm_ray.storage.address import Address

CONNECT_SECONDS, REQUEST_SECONDS = 5.0, 30.0
"""Of one request."""


def filesystem(address: Address, attempts: int) -> fs.S3FileSystem:
    """Asks nothing but for the region, where that is said nowhere.

    Args:
        attempts: how often pyarrow itself repeats a request.
    """
    options: dict[str, Any] = {k: v == "true" if k.startswith("allow_") else v for k, v in address.options.items()}
    user = address.authority.rpartition("@")[0]
    if user:
        key, _, secret = user.partition(":")
        options |= {"access_key": unquote(key), "secret_key": unquote(secret)}
    endpoint, region = _endpoint(address), _region(address)
    if endpoint:
        options["endpoint_override"] = endpoint
    elif not region:
        region = fs.resolve_s3_region(address.host)
    return fs.S3FileSystem(
        **options | ({"region": region} if region else {}),
        connect_timeout=CONNECT_SECONDS,
        request_timeout=REQUEST_SECONDS,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=attempts),
        # A file of less than a part goes up in one request in place of three.
        allow_delayed_open=True,
    )


def require_bucket(filesystem: fs.FileSystem, bucket: str, words: str) -> None:
    """Raises InputError where there is none of the name."""
    if filesystem.get_file_info(bucket).type == fs.FileType.NotFound:
        raise InputError(f"storage has no bucket '{bucket}' for {words}; make it, or name one that exists")


def server(address: Address) -> str:
    """Which server has the bucket, one name for each."""
    return _endpoint(address).rpartition("://")[2] or "AWS"


def asked(address: Address) -> str:
    """Which server is asked, for a message."""
    return f" (endpoint {_endpoint(address) or 'of AWS'}, region {_region(address) or 'not set'})"


def _endpoint(address: Address) -> str:
    named = address.options.get("endpoint_override")
    found = named or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
    return found.rstrip("/")


def _region(address: Address) -> str | None:
    return address.options.get("region") or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
