"""The bearer token that a server asks for: where it is kept, and where there must be one. Knows no HTTP."""

from __future__ import annotations

import ipaddress
import os
import socket
from pathlib import Path

from lstm_ray.errors import InputError
from lstm_ray.sections.deploy import DeployConfig
from lstm_ray.serving.gate import digest

MIN_TOKEN_BYTES = 16


def token_digest(deploy: DeployConfig) -> bytes | None:
    """What a gate keeps of the token; None where none is needed.

    Raises InputError where the host needs one and there is none.
    """
    try:
        address = ipaddress.ip_address(socket.gethostbyname(deploy.host))
    except OSError as error:
        raise InputError(f"deploy.host '{deploy.host}' is no address of this machine: {error}") from None
    token, origin = _token(deploy)
    if token is None:
        if not address.is_loopback:
            raise InputError(
                f"deploy.host {deploy.host} can be reached by others, and deploy.token_file is not set, nor the variable "
                f"{deploy.token_variable}; name a file that holds a secret, put it into that variable, or bind to 127.0.0.1"
            )
        if deploy.grpc_port is not None:
            raise InputError(
                "deploy.grpc_port is set, and Ray Serve opens gRPC on every interface of this machine, whatever deploy.host "
                f"says; set deploy.token_file or the variable {deploy.token_variable}, or leave deploy.grpc_port out"
            )
        return None
    if len(token) < MIN_TOKEN_BYTES:
        raise InputError(
            f"{origin} holds {len(token)} characters; write at least {MIN_TOKEN_BYTES}, such as by 'openssl rand -hex 32'"
        )
    if any(character < 32 or character >= 127 for character in token):
        raise InputError(
            f"{origin} holds a line break or a letter beyond ASCII, which no header can carry; write one token of letters, "
            "digits and signs"
        )
    return digest(token)


def _token(deploy: DeployConfig) -> tuple[bytes | None, str]:
    """The secret, and where it is from. The file has the last word."""
    if deploy.token_file is not None:
        try:
            return Path(deploy.token_file).read_bytes().strip(), f"deploy.token_file '{deploy.token_file}'"
        except OSError as error:
            raise InputError(f"deploy.token_file '{deploy.token_file}' cannot be read: {error.strerror}") from None
    if (found := os.environ.get(deploy.token_variable)) is not None:
        return found.strip().encode(), f"the variable {deploy.token_variable}"
    return None, ""
