"""Joining a Ray cluster, or starting one on this machine. Knows nothing of the work done on it."""

from __future__ import annotations

import logging
import os
import secrets
import socket
from importlib.util import find_spec
from typing import Any

import ray
from ray.exceptions import RayTaskError

from lstm_ray.errors import InputError
from lstm_ray.model.heap import HUGE_PAGES

CONNECT_SECONDS = 5.0
NAMESPACE = "lstm-ray"
"""Of a server's actors."""
SETTINGS = {
    # Ray warns that it will stop hiding GPUs from tasks that ask for none; nothing here relies on either.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_TRAIN_V2_ENABLED": "1",
    # A worker group is polled this often; the default of 2 s is most of a short training's end.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    # In every process from its start, for torch looks once.
    HUGE_PAGES: "1",
}


def ensure() -> None:
    """Connect to the cluster that RAY_ADDRESS names, or start one on this machine's loopback.

    A cluster started here ends with this process, and asks for a token that only this process and its children know.
    Raises InputError where neither can be done.
    """
    if ray.is_initialized():
        return
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    address = os.environ.get("RAY_ADDRESS") or "local"
    _require_reachable(address)
    if address == "local" and not any(name.startswith("RAY_AUTH_") for name in os.environ):
        # Ray asks for a token by itself, but would leave it in the user's home, where every later `ray start` finds it and
        # locks out a `ray job submit` that does not know of it.
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
        logging.getLogger("ray._private.authentication.authentication_token_setup").setLevel(logging.ERROR)
    try:
        ray.init(
            # Left to itself, Ray would join whatever cluster was last started on this machine, or wait for one that has died.
            address,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.WARNING,
            runtime_env={"env_vars": SETTINGS},
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise _refused(address, error) from error
    # The pipeline reports through its own progress; Ray's account of plans and sinks goes to Ray's log files.
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    if find_spec("pyarrow"):  # a serving image has none, and no Ray Data
        from ray.data import DataContext

        DataContext.get_current().enable_progress_bars = False


def _refused(address: str, error: Exception) -> InputError:
    said = (str(error).strip() or type(error).__name__).splitlines()[0]
    if address == "local":
        return InputError(
            f"Ray cannot be started on this machine: {said}; RAY_TMPDIR names its folder of temporary files, which must exist "
            "and have a short path. preprocess.engine: polars, train.workers: 0 and train.read: memory do without Ray"
        )
    return InputError(
        f"the Ray cluster at '{address}' cannot be joined: {said}; check --address or RAY_ADDRESS (such as 10.0.0.1:6379), or "
        "leave it out for a local one"
    )


def _require_reachable(address: str) -> None:
    """Raises InputError where nothing answers at HOST:PORT: Ray itself would go on trying for minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or "/" in host:
        return
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        raise InputError(
            f"no Ray cluster answers at '{address}' ({error}); check --address or RAY_ADDRESS, or leave it out for a local one"
        ) from None


def answer(reference: Any, seconds: float | None = None) -> Any:
    """What a task or an actor's method answers. An InputError that it raised is raised as it was, without Ray's traceback.

    Raises ray.exceptions.GetTimeoutError after so many seconds.
    """
    try:
        return ray.get(reference, timeout=seconds)
    except RayTaskError as error:
        if isinstance(error.cause, InputError):
            raise error.cause from None
        raise


def num_cpus() -> int:
    """CPUs of the whole cluster."""
    return int(ray.cluster_resources().get("CPU", 1))
