"""Joining a Ray cluster, or starting one on this machine. Knows nothing of the work done on it."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import ray
from ray.exceptions import AuthenticationError, RayTaskError
from ray.job_config import JobConfig

from lstm_ray import __version__, log
from lstm_ray.errors import InputError
from lstm_ray.model.heap import HUGE_PAGES
from lstm_ray.on_ray import lost, metrics
from lstm_ray.on_ray.addresses import TOKEN_FIX, require_cluster

NAMESPACE = "lstm-ray"
"""Of a server's actors."""
SETTINGS = {
    # Ray warns that it will stop hiding GPUs from tasks that ask for none; nothing here relies on either.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_TRAIN_V2_ENABLED": "1",
    # A worker group is polled this often; the default of 2 s is most of a short training's end.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    # For so long a worker group waits for its places, which may have left with a node since they were counted; default 60.
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "30",
    # In every process from its start, for torch looks once.
    HUGE_PAGES: "1",
    # Stopped by hand, Tune would end its search as if it were whole.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
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
    if _is_host_and_port(address):
        require_cluster(address)
    if address == "local" and not any(name.startswith("RAY_AUTH_") for name in os.environ):
        # Ray asks for a token by itself, but would leave it in the user's home, where every later `ray start` finds it and
        # locks out a `ray job submit` that does not know of it.
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
        logging.getLogger("ray._private.authentication.authentication_token_setup").setLevel(logging.ERROR)
    try:
        with _signals_kept():
            ray.init(
                # Left to itself, Ray would join whatever cluster was last started on this machine, or wait for a dead one.
                address,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.WARNING,
                runtime_env={"env_vars": SETTINGS | log.environment()},
                job_config=_job_config(),
            )
    except (OSError, ValueError, RuntimeError, AuthenticationError) as error:
        raise _refused(address, error) from error
    if address != "local":
        _require_same_version(address)
        lost.watch(head := ray.get_runtime_context().gcs_address, lambda: _is_joined(head))
    metrics.watch_progress()
    # The pipeline reports through its own progress; Ray's account of plans and sinks goes to Ray's log files.
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    if find_spec("pyarrow"):  # a serving image has none, and no Ray Data
        from ray.data import DataContext

        DataContext.get_current().enable_progress_bars = False


def _is_joined(head: str) -> bool:
    return ray.is_initialized() and ray.get_runtime_context().gcs_address == head


def _job_config() -> JobConfig:
    """Workers write lines of JSON to Ray's log files. Told to ray.init itself, it would have this process do so, too."""
    found = JobConfig()
    found.set_py_logging_config(ray.LoggingConfig(encoding="JSON"))
    return found


def work_for(given: Mapping[str, log.Fact], **more: log.Fact) -> None:
    """In a task, an actor or a worker: its lines name the run and stage that it works for, and where it is.

    Args:
        given: ``log.context()`` of the driver.
    """
    here = ray.get_runtime_context()
    log.join(given, node=ray.util.get_node_ip_address(), job=here.get_job_id(), worker=here.get_worker_id(), **more)


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Ray's own handler of SIGTERM prints where each of its threads was, and ends the process: whoever had one keeps it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    except SystemExit as leaving:  # Ray's handler, while it starts
        if leaving.code == signal.SIGTERM and callable(before):
            before(signal.SIGTERM, None)
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


def _refused(address: str, error: Exception) -> InputError:
    said = str(error).strip() or type(error).__name__
    if "Version mismatch" in said:
        return InputError(
            f"the Ray cluster at '{address}' cannot be joined: {' '.join(said.split())} Install here what the cluster runs, or "
            "start it from an image that holds this Ray and this Python"
        )
    if isinstance(error, AuthenticationError):
        return InputError(f"the Ray cluster at '{address}' asks for a token, and this process has none; {TOKEN_FIX}")
    said = said.splitlines()[0]
    if address == "local":
        return InputError(
            f"Ray cannot be started on this machine: {said}; RAY_TMPDIR names its folder of temporary files, which must exist "
            "and have a short path. preprocess.engine: polars, train.workers: 0 and train.read: memory do without Ray"
        )
    return InputError(
        f"the Ray cluster at '{address}' cannot be joined: {said}; check --address or RAY_ADDRESS (such as 10.0.0.1:6379), or "
        "leave it out for a local one"
    )


def _is_host_and_port(address: str) -> bool:
    host, _, port = address.rpartition(":")
    return bool(host) and port.isdigit() and "/" not in host


def _require_same_version(address: str) -> None:
    """Raises InputError where the cluster's machines have none of this package, or another version of it.

    A job that ships its own copy has the same everywhere, and is not asked.
    """
    shipped = ray.get_runtime_context().runtime_env
    if shipped.get("working_dir") or shipped.get("py_modules"):
        return

    # Nested, so that it travels whole: a machine without this package could not look it up.
    def version_there() -> str:
        from importlib.util import find_spec

        if find_spec("lstm_ray") is None:
            return ""
        from lstm_ray import __version__

        return __version__

    found = ray.get(ray.remote(num_cpus=0)(version_there).remote())
    if found == __version__:
        return
    ray.shutdown()
    has = f"has lstm-ray {found}, and this is {__version__}" if found else "has no lstm-ray installed"
    raise InputError(
        f"the Ray cluster at '{address}' {has}; install {__version__} on its machines, or submit the work as a job, which "
        "brings its own: lstm-ray submit"
    )


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
