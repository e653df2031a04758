"""The policy as a Ray Serve application: replicas, one register, one HTTP address. Knows nothing of requests."""

from __future__ import annotations

import ipaddress
import logging
import os
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import ray
import yaml
from pydantic import BaseModel
from ray import serve
from ray.serve._private.constants import SERVE_CONTROLLER_NAME, SERVE_NAMESPACE
from ray.serve.config import BackpressureConfig
from ray.serve.context import _get_global_client
from ray.serve.schema import LoggingConfig
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from lstm_ray.config import with_values
from lstm_ray.errors import InputError, nearest
from lstm_ray.on_ray import cluster, orphans, servers, streams
from lstm_ray.on_ray.calls import SERVICER
from lstm_ray.on_ray.cluster import NAMESPACE
from lstm_ray.on_ray.ports import free_port
from lstm_ray.on_ray.replica import Replica
from lstm_ray.registry.folder import at, require_free
from lstm_ray.registry.policies import lay
from lstm_ray.sections.deploy import DeployConfig
from lstm_ray.sections.operate import MonitorConfig
from lstm_ray.serving.bundle import Packed, find, unpack
from lstm_ray.serving.gate import RETRY_SECONDS
from lstm_ray.serving.headers import BEFORE_SERVE
from lstm_ray.serving.secret import tokens
from lstm_ray.serving.switching.register import Register

APPLICATION = "lstm-ray"
QUEUE_FACTOR = 4
"""A replica's queue holds this many times what it works on; more requests are answered with 503, and so are those that have
waited in it for longer than RETRY_SECONDS, however slow the replica is. HAProxy queues none: it opens a connection for each."""
REPLICA_CPUS = 0.5
"""Reserved for a replica: where a machine has two, other work must still find one."""
SHUTDOWN_SECONDS = 30.0
MEASURED = ("monitor.window", "monitor.false_alarms")
"""What a bundle's limits of drift hang on."""
ENVIRONMENT = {
    # Requests are read and answered by one thread: two would take turns at Python's lock, up to 5 ms a turn.
    "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": BEFORE_SERVE,
    # A proxy that is not up by then is killed, and Serve's start fails with it: on a busy machine 5 s are too few.
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",
}
FAST_PROXY = {
    # Five times the throughput of Serve's own proxy (HAProxy passes requests on without unpacking them).
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    # Connections on which a client owes the rest of a request; the default is an hour, and there is room for 4096.
    "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S": "60",
    # A replica waits this long before it stops, for proxies on other machines to hear of it; the default is 30 s.
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",
}
PROXY_PORTS = (
    "RAY_SERVE_HAPROXY_STATS_PORT",
    "RAY_SERVE_HAPROXY_METRICS_PORT",
    "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT",
    "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT",
)
"""Further ports of the fast proxy: any free ones, for two clusters on one machine must not meet."""


@dataclass(frozen=True)
class Served:
    """An application that answers."""

    url: str
    """Address with its path, without a slash at the end."""
    application: str
    started_serve: bool
    """Whether Serve was started for it, and so ends with it."""
    grpc: str | None = None
    """Host and port that answer gRPC."""


@contextmanager
def running(
    files: Packed,
    deploy: DeployConfig,
    application: str = APPLICATION,
    route: str = "/",
    source: str = "",
    history: Path | None = None,
    monitor: Mapping[str, Any] | None = None,
) -> Iterator[Served]:
    """Serve a policy, and those that an update puts in its place, until the block ends.

    Serve has one HTTP address in a cluster. Where it runs already, the application joins it under ``route``, and alone is
    removed afterwards; otherwise Serve starts on the host and port of ``deploy`` and ends with the block.

    Args:
        source: where the policy comes from, for people.
        history: the registry: folder in which every policy that is served is kept, and by which other processes of this user
            find the server; None: one that ends with the block.
        monitor: fields of the section monitor that hold for every policy that is served, whatever its own config says.

    Raises InputError where the address or the route is taken, or the host is not loopback and no token is set.
    """
    needed = tokens(deploy)
    if history is not None:
        require_free(history)
    cluster.ensure()
    with (
        _quiet(),
        tempfile.TemporaryDirectory(prefix=orphans.PREFIX, dir=orphans.SOCKETS, ignore_cleanup_errors=True) as private,
    ):
        client = _get_global_client(raise_if_no_controller_running=False)
        started = client is None
        deploy = _start_serve(deploy, private) if client is None else _join_serve(client, deploy, application, route)
        try:
            with (
                _streams(application, files, deploy, history) as shards,
                _register(register_of(application), files, source, history, shards, monitor or {}),
            ):
                options = {**_options(deploy), "user_config": {"register": register_of(application)}}
                deployment: Any = serve.deployment(name="policy", **options)(Replica)
                serve.run(deployment.bind(deploy.model_dump(), needed), name=application, route_prefix=route)
                url, grpc = f"http://{_named(deploy)}{route.rstrip('/')}", None
                if deploy.grpc_port is not None:
                    grpc = _named(deploy.model_copy(update={"port": deploy.grpc_port}))
                with servers.announced(application, url, history) if history else nullcontext():
                    yield Served(url, application, started, grpc)
        finally:
            if started:
                _end_serve()
            else:
                serve.delete(application)


def serve_forever(source: str | Path, overrides: Sequence[str] = ()) -> None:
    """Serve the policy of a run directory, or of a policy's folder, until Ctrl-C or SIGTERM.

    Args:
        overrides: ``deploy.field=value`` or ``monitor.field=value``, parsed as YAML.

    Raises:
        InputError: no policy there, or settings that cannot be served.
    """
    files = find(source)
    policy = unpack(files)
    values = _values(overrides)
    config = with_values(policy.config, values)
    fields = (path.partition(".")[2] for path in values if path.startswith("monitor."))
    monitor = {name: getattr(config.monitor, name) for name in fields}
    with (
        running(files, config.deploy, source=str(source), history=history_of(source), monitor=monitor) as served,
        _stop_signal() as stopped,
    ):
        print(f"serving {policy.config.name} {policy.version[:12]} at {served.url}/  (Ctrl-C stops it)", flush=True)
        stopped.wait()
        print("stopping", flush=True)


@contextmanager
def _stop_signal() -> Iterator[threading.Event]:
    """An event that Ctrl-C or SIGTERM sets. Ray installs a handler of its own when it starts, so this comes after."""
    stopped = threading.Event()
    before = {sign: signal.signal(sign, lambda *_: stopped.set()) for sign in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopped
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)


def _start_serve(deploy: DeployConfig, private: str) -> DeployConfig:
    """Start Serve; returns the settings with the port that was picked.

    Args:
        private: folder of this user alone.
    """
    host = ipaddress.ip_address(socket.gethostbyname(deploy.host))
    if deploy.port:
        orphans.end_proxy(deploy.host, deploy.port)
        _require_free(deploy)
    deploy = deploy.model_copy(update={"port": deploy.port or free_port(deploy.host)})
    grpc_options: dict[str, Any] = {}
    if deploy.grpc_port is not None:
        if deploy.grpc_port:
            _require_free(deploy.model_copy(update={"port": deploy.grpc_port}), "grpc_port")
        deploy = deploy.model_copy(update={"grpc_port": deploy.grpc_port or free_port(deploy.host)})
        grpc_options = {"grpc_options": {"port": deploy.grpc_port, "grpc_servicer_functions": [SERVICER]}}
    # The fast proxy connects to replicas by the host they bind to: with several machines that must be every interface.
    fast = len([node for node in ray.nodes() if node["Alive"]]) == 1 or host.is_unspecified
    ports = {name: str(free_port()) for name in PROXY_PORTS}
    files = {name: str(Path(private, file)) for name, file in orphans.PROXY_FILES.items()}
    environment = {**ENVIRONMENT, **FAST_PROXY, **ports, **files} if fast else ENVIRONMENT
    serve.start(
        proxy_location="HeadOnly",
        http_options={"host": deploy.host, "port": deploy.port},
        controller_options={"runtime_env": {"env_vars": environment}},
        **grpc_options,
    )
    return deploy


def _end_serve() -> None:
    """Shut Serve down. Asked to wait, its controller would be reported on the terminal as a task that died."""
    controller: Any = ray.get_actor(SERVE_CONTROLLER_NAME, namespace=SERVE_NAMESPACE)
    ray.get(controller.graceful_shutdown.remote(wait=False))
    deadline = time.monotonic() + SHUTDOWN_SECONDS
    with suppress(ValueError):
        while time.monotonic() < deadline:
            ray.get_actor(SERVE_CONTROLLER_NAME, namespace=SERVE_NAMESPACE)
            time.sleep(0.05)
    serve.shutdown()


def _join_serve(client: Any, deploy: DeployConfig, application: str, route: str) -> DeployConfig:
    """The settings as the running Serve has them. Raises InputError where ours cannot be had."""
    host, port = client.http_config.host, client.http_config.port
    if deploy.port not in (0, port) or deploy.host != host:
        raise InputError(
            f"Serve already runs in this cluster at {host}:{port}, and has one address in a cluster; set deploy.host to "
            f"{host} and deploy.port to {port} or 0, or end it first with 'serve shutdown'"
        )
    details = client.get_serve_details()
    applications, grpc_port = details["applications"], _grpc_port(details)
    if deploy.grpc_port is not None and (grpc_port is None or deploy.grpc_port not in (0, grpc_port)):
        told = "answers no gRPC" if grpc_port is None else f"answers gRPC at port {grpc_port}"
        raise InputError(
            f"Serve already runs in this cluster and {told}, which cannot be changed while it runs; leave deploy.grpc_port "
            "out, or end Serve first with 'serve shutdown'"
        )
    if application in applications:
        raise InputError(
            f"the application '{application}' already runs at {host}:{port}; stop the process that serves it"
        )
    taken = {details["route_prefix"]: name for name, details in applications.items()}
    if route in taken:
        raise InputError(
            f"the path '{route}' of {host}:{port} belongs to the application '{taken[route]}'; stop it first"
        )
    return deploy.model_copy(update={"port": port, "grpc_port": None if deploy.grpc_port is None else grpc_port})


def _grpc_port(details: dict[str, Any]) -> int | None:
    """At which the running Serve answers policy.proto."""
    options = details.get("grpc_options") or {}
    return options["port"] if SERVICER in options.get("grpc_servicer_functions", ()) else None


def _options(deploy: DeployConfig) -> dict[str, Any]:
    return {
        "num_replicas": deploy.replicas,
        "max_ongoing_requests": deploy.max_ongoing_requests,
        "max_queued_requests": QUEUE_FACTOR * deploy.max_ongoing_requests,
        "backpressure_config": BackpressureConfig(retry_after_s=RETRY_SECONDS),
        "ray_actor_options": {"num_cpus": REPLICA_CPUS},
        "graceful_shutdown_timeout_s": 5,
        "graceful_shutdown_wait_loop_s": 0.1,
        # A line for each request costs a tenth of the throughput; the monitor counts them.
        "logging_config": LoggingConfig(enable_access_log=False),
    }


def register_of(application: str) -> str:
    """Name of the actor that replicas follow."""
    return f"{application}-register"


@contextmanager
def _register(
    name: str,
    files: Packed,
    source: str,
    history: Path | None,
    shards: list[Any],
    monitor: Mapping[str, Any],
) -> Iterator[None]:
    """The register's actor, detached as Serve's applications are; one left by a killed process makes room.

    It stays on this machine, for its history does.
    """
    with suppress(ValueError):
        ray.kill(ray.get_actor(name, namespace=NAMESPACE))
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    options = {"name": name, "namespace": NAMESPACE, "lifetime": "detached", "num_cpus": 0, "max_restarts": -1}
    with tempfile.TemporaryDirectory(prefix="lstm-ray-") as temporary:
        made: Any = ray.remote(Register).options(**options, scheduling_strategy=here)
        folder = history or Path(temporary)
        following = (streams.Following(shards), streams.Forgetting(shards))
        actor = made.remote(folder, uuid4().hex, source, lay(folder, files), *following, monitor)
        try:
            cluster.answer(actor.status.remote())
            yield
        finally:
            ray.kill(actor)


@contextmanager
def _streams(application: str, files: Packed, deploy: DeployConfig, history: Path | None) -> Iterator[list[Any]]:
    """The actors that keep streams, in a folder beside that of the policies that were served."""
    shards = streams.started(application, files, deploy, history and history.parent)
    try:
        yield shards
    finally:
        streams.ended(shards)


def history_of(source: str | Path) -> Path | None:
    """Its registry, beside the policy; None where that is on no disk of this machine, or may not be written."""
    if "://" in str(source):
        return None
    folder = at(source)
    return folder if os.access(folder.parent, os.W_OK) else None


def _require_free(deploy: DeployConfig, field: str = "port") -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((deploy.host, deploy.port))
        except OSError as error:
            raise InputError(
                f"deploy.{field} {deploy.port} of {deploy.host} cannot be had: {error.strerror}; "
                "choose another, or 0 for any free one"
            ) from None


def _values(overrides: Sequence[str]) -> dict[str, Any]:
    sections: dict[str, type[BaseModel]] = {"deploy": DeployConfig, "monitor": MonitorConfig}
    fields = [f"{section}.{name}" for section, kind in sections.items() for name in kind.model_fields]
    values = {}
    for override in overrides:
        path, equals, text = override.partition("=")
        if path in MEASURED:
            raise InputError(
                f"--set {override!r}: the limits in the bundle were measured for this policy's {path}; set it in the YAML and "
                "run 'lstm-ray deploy', which measures them anew"
            )
        if not equals or path not in fields:
            raise InputError(
                f"--set {override!r}: a trained policy can be served with other fields of deploy and monitor alone, each as "
                f"FIELD=VALUE{nearest(path, fields)}"
            )
        values[path] = yaml.safe_load(text)
    return values


def _named(deploy: DeployConfig) -> str:
    """Host and port for a URL; every interface is reached by loopback too."""
    host = "127.0.0.1" if ipaddress.ip_address(socket.gethostbyname(deploy.host)).is_unspecified else deploy.host
    return f"{host}:{deploy.port}"


@contextmanager
def _quiet() -> Iterator[None]:
    """Serve tells a terminal of every step it takes; what matters to a person is said here."""
    logger = logging.getLogger("ray.serve")
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)
