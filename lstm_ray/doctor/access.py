"""Who may reach a cluster: its token, where its dashboard listens, and traces of clusters that are gone. Knows no Ray."""

from __future__ import annotations

import os
import socket
import stat
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path

from lstm_ray.doctor.checks import Check, well

TOKEN, TOKEN_PATH, MODE = "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"
OPEN_TO_OTHERS = stat.S_IRWXG | stat.S_IRWXO
ANSWER_SECONDS = 5.0
ASKED = "/api/version"
"""What a job server answers to whoever may submit jobs."""


def token(environment: Mapping[str, str] | None = None, home: Path | None = None) -> Check:
    """Has this machine a token to show, and is it kept from others? Its words are never told."""
    environment = os.environ if environment is None else environment
    home = home or Path.home()
    name = "token"
    if environment.get(MODE) == "disabled":
        advice = f"leave {MODE} unset or 'token' wherever others reach the cluster: who reaches it runs code on it"
        return Check(name, "warning", f"{MODE} is 'disabled'", advice)
    if environment.get(TOKEN):
        return _shown(environment, f"from {TOKEN}")
    named = environment.get(TOKEN_PATH)
    file = Path(named) if named else home / ".ray" / "auth_token"
    if not file.is_file():
        advice = f"`ray get-auth-token --generate` on the head, and the same file or {TOKEN} here and on every node"
        if named or environment.get(MODE) == "token":
            return Check(name, "wrong", f"none: no {TOKEN}, and '{file}' is not there", advice)
        return well(name, "none is set: a cluster of this machine makes up its own, others want theirs")
    if file.stat().st_mode & OPEN_TO_OTHERS:
        return Check(name, "warning", f"'{file}' can be read by other users", f"chmod 600 '{file}'")
    return _shown(environment, f"from '{file}'")


def _shown(environment: Mapping[str, str], text: str) -> Check:
    if environment.get(MODE) == "token":
        return well("token", text)
    return Check(
        "token", "warning", f"{text}, and {MODE} is not set", f"export {MODE}=token: without it Ray shows no token"
    )


def dashboard(url: str) -> list[Check]:
    """Of HOST:PORT, where a cluster's dashboard listens: does it ask for a token, and is it bound to loopback?"""
    if not url:
        return [Check("dashboard", "warning", "the cluster has none", "`ray start --head --include-dashboard=true`")]
    host = url.removeprefix("http://").rpartition(":")[0]
    inside = _is_loopback(host)
    where = "on loopback" if inside else f"on {host}"
    try:
        # No proxy: the address is of this cluster.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        opener.open(f"http://{url.removeprefix('http://')}{ASKED}", timeout=ANSWER_SECONDS).close()
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            return [well("dashboard", f"asks for a token, {where}")]
        return [
            Check("dashboard", "warning", f"answers {error.code} at '{url}'", "look into dashboard.log on the head")
        ]
    except OSError as error:
        if inside:
            return [well("dashboard", "on the head's loopback: reach it by `ray dashboard` or a port forward")]
        return [Check("dashboard", "warning", f"nothing answers at '{url}' ({error})", "open its port to this machine")]
    advice = "start every node with RAY_AUTH_MODE=token and one RAY_AUTH_TOKEN, or --dashboard-host=127.0.0.1"
    if inside:
        return [Check("dashboard", "warning", "whoever is on the head runs code by it: it asks for no token", advice)]
    return [Check("dashboard", "wrong", f"whoever reaches {host} runs code by it: it asks for no token", advice)]


def last_cluster(folder: Path | None = None) -> Check:
    """Does the note of the cluster that was last started here name one that is alive? Ray's own commands join that one, and
    wait for it where it has died."""
    file = (folder or Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()) / "ray") / "ray_current_cluster"
    try:
        address = file.read_text().strip()
    except OSError:
        return well("last cluster", "no note of one on this machine")
    if answers(address):
        return well("last cluster", f"'{address}' is alive")
    return Check("last cluster", "warning", f"'{file}' names '{address}', where nothing answers", f"rm '{file}'")


def answers(address: str) -> bool:
    """Does anything listen at HOST:PORT?"""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=ANSWER_SECONDS).close()
    except (OSError, ValueError):
        return False
    return True


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
