"""What listens at an address, asked with a time limit: a Ray cluster, its dashboard, or something else. Starts nothing, joins
nothing.

Ray itself goes on trying for minutes, a line a second, and then tells a wrong port, a wrong token and an empty address alike.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
from contextlib import suppress
from urllib.parse import urlsplit

import grpc
from ray._raylet import AuthenticationTokenLoader  # type: ignore[attr-defined]
from ray.exceptions import AuthenticationError

from lstm_ray.errors import InputError

SECONDS = 5.0
TOKEN_FIX = (
    "export RAY_AUTH_MODE=token, without which Ray shows none, and RAY_AUTH_TOKEN (or RAY_AUTH_TOKEN_PATH, a file that holds "
    "it): the token that the cluster was started with (on its head: `ray get-auth-token`)"
)
METHOD = "/ray.rpc.NodeInfoGcsService/GetClusterId"
"""What every driver asks a cluster first."""


def token_headers() -> dict[str, str]:
    """What shows this process's token, by gRPC and by HTTP alike; empty where it has none, or shows none."""
    try:
        return dict(AuthenticationTokenLoader.instance().get_token_for_http_header())
    except AuthenticationError:
        return {}


def require_cluster(address: str) -> None:
    """Raises InputError where no Ray cluster that takes this process's token answers at HOST:PORT, for a driver to join."""
    _require_open(address, f"no Ray cluster answers at '{address}'")
    if os.environ.get("RAY_USE_TLS", "0") not in ("0", ""):
        return  # asked in Ray's own way, with its certificates
    headers = tuple(token_headers().items())
    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            channel.unary_unary(METHOD)(b"", timeout=SECONDS, metadata=headers)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.UNAUTHENTICATED:
                raise _no_token(address, bool(headers)) from None
            if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                raise InputError(_not_a_cluster(address)) from None


def _not_a_cluster(address: str) -> str:
    host = address.rpartition(":")[0]
    body = _version(f"http://{address}")[1]
    if b'"ray_version"' in body or b"authentication token" in body:
        return (
            f"'{address}' is the dashboard of a Ray cluster, where jobs are submitted (lstm-ray submit --address "
            f"http://{address}); --address and RAY_ADDRESS take the port that drivers join, such as {host}:6379"
        )
    return (
        f"what answers at '{address}' is no Ray cluster; --address and RAY_ADDRESS take the port that drivers join, such as "
        f"{host}:6379, or leave it out for a local one"
    )


def job_server(address: str) -> tuple[str, str]:
    """The job server's http address, from such a one or from HOST:PORT, and the version of its Ray.

    Raises InputError where none that takes this process's token answers there.
    """
    url = (address if "://" in address else f"http://{address}").rstrip("/")
    wrong = f"'{address}' is no address of a job server; give the dashboard's, such as http://127.0.0.1:8265"
    try:
        parts = urlsplit(url)
        at = f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}"
    except ValueError as error:
        raise InputError(f"{wrong} ({error})") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError(wrong)
    _require_open(
        at, f"no job server answers at '{url}'", "give the dashboard's address, such as http://127.0.0.1:8265"
    )
    status, body = _version(url)
    if status in (401, 403):
        raise _no_token(url, bool(token_headers()))
    with suppress(ValueError, KeyError, TypeError):
        return url, str(json.loads(body)["ray_version"])
    raise InputError(
        f"what answers at '{url}' is no job server of Ray; give the dashboard's address, such as http://{parts.hostname}:8265 "
        "(a driver's port, such as 6379, is another)"
    )


def _version(url: str) -> tuple[int, bytes]:
    """What a web server answers when asked for Ray's version; status 0 where it is none."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    asked = kind(parts.hostname or "", parts.port, timeout=SECONDS)
    try:
        asked.request("GET", f"{parts.path}/api/version", headers=token_headers())
        answer = asked.getresponse()
        return answer.status, answer.read(10_000)
    except (OSError, http.client.HTTPException):
        return 0, b""
    finally:
        asked.close()


def _require_open(address: str, words: str, fix: str = "") -> None:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=SECONDS).close()
    except OSError as error:
        fix = fix or "check --address or RAY_ADDRESS, or leave it out for a local one"
        raise InputError(f"{words} ({error}); {fix}") from None


def _no_token(address: str, shown: bool) -> InputError:
    how = "the token of this process is not its" if shown else "it asks for a token, and this process shows none"
    return InputError(f"the Ray cluster at '{address}' refuses: {how}; {TOKEN_FIX}")
