"""The bearer tokens that a server asks for: where they are kept, and where there must be one. Knows no HTTP."""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from pathlib import Path

from lstm_ray.errors import InputError
from lstm_ray.sections.deploy import DeployConfig
from lstm_ray.serving.gate import digest

MIN_TOKEN_BYTES = 16
ONLY = "token"
"""Name of one that has none."""
NAME = re.compile(rb"[A-Za-z0-9._@-]{1,64}")


def tokens(deploy: DeployConfig) -> dict[str, bytes]:
    """What a gate keeps of the tokens, by their names; empty where none is needed.

    Raises InputError where the host needs one and there is none, and for tokens that none could use, or guess too soon.
    """
    try:
        address = ipaddress.ip_address(socket.gethostbyname(deploy.host))
    except OSError as error:
        raise InputError(f"deploy.host '{deploy.host}' is no address of this machine: {error}") from None
    if deploy.token_file is not None:
        # The file has the last word.
        return _of_file(deploy.token_file)
    if (found := os.environ.get(deploy.token_variable)) is not None:
        return {ONLY: _checked(found.strip().encode(), f"the variable {deploy.token_variable}")}
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
    return {}


def _of_file(file: str) -> dict[str, bytes]:
    where = f"deploy.token_file '{file}'"
    try:
        content = Path(file).read_bytes().strip()
    except OSError as error:
        raise InputError(f"{where} cannot be read: {error.strerror}") from None
    lines = [line.split() for line in content.splitlines() if line.strip()]
    if len(lines) <= 1 and not (lines and len(lines[0]) == 2 and NAME.fullmatch(lines[0][0])):
        return {ONLY: _checked(content, where)}
    found: dict[str, bytes] = {}
    for number, words in enumerate(lines, 1):
        at = f"{where}, line {number},"
        if len(words) != 2 or not NAME.fullmatch(words[0]):
            # What the line holds may be a secret, and is not repeated.
            raise InputError(
                f"{at} is not of the form 'NAME TOKEN', the name of letters, digits and . _ @ - alone; a file of one bare "
                "token has one line"
            )
        name = words[0].decode()
        if name in found:
            raise InputError(f"{at} names '{name}' again; give each token a name of its own")
        hashed = _checked(words[1], f"{at} the token of '{name}',")
        if same := [other for other, known in found.items() if known == hashed]:
            raise InputError(f"{at} gives '{name}' the token of '{same[0]}'; nobody could tell who did what")
        found[name] = hashed
    return found


def _checked(token: bytes, origin: str) -> bytes:
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
