"""A run's registry and server as a retrainer sees them: who is champion, what the monitor says. Changes nothing."""

from __future__ import annotations

import http.client
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

from lstm_ray.errors import InputError
from lstm_ray.model.stored import Files
from lstm_ray.registry.folder import at
from lstm_ray.sections.deploy import DeployConfig
from lstm_ray.serving import bundle

ANSWER_SECONDS = 30.0


def champion(run: Path) -> Files:
    """The files of the policy that is champion, or would be if the run were served now."""
    return bundle.find(run)


def monitor(run: Path, deploy: DeployConfig) -> Mapping[str, Any]:
    """What the run's server on this machine says of its champion (GET /v1/monitor); empty where nobody serves it.

    Raises InputError where the server does not answer.
    """
    # Ray takes a moment to import, and only a server leaves word of itself.
    from lstm_ray.on_ray import servers

    found = next((one for one in servers.known() if one.registry == str(at(run))), None)
    if found is None:
        return {}
    token = _token(deploy)
    request = Request(f"{found.url}/v1/monitor", headers={"Authorization": f"Bearer {token}"} if token else {})
    try:
        with urlopen(request, timeout=ANSWER_SECONDS) as answer:
            told: Mapping[str, Any] = json.load(answer)
    except (URLError, OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise InputError(f"the server at {found.url} does not tell its monitor: {reason}; it is asked again") from None
    return told


def _token(deploy: DeployConfig) -> str:
    """The secret that the server asks for, as it reads it; empty where there is none."""
    if deploy.token_file is None:
        return os.environ.get(deploy.token_variable, "").strip()
    try:
        # Of several, one a line, each after its name, any opens the server.
        return (Path(deploy.token_file).read_text(encoding="utf-8").split("\n")[0].split() or [""])[-1]
    except OSError as error:
        raise InputError(f"deploy.token_file '{deploy.token_file}' cannot be read: {error.strerror}") from None
