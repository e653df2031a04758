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

import ray
import yaml
from pydantic import BaseModel
from ray import serve
from ray.serve._private.constants import SERVE_CONTROLLER_NAME, SERVE_NAMESPACE
from ray.serve.config import BackpressureConfig
from ray.serve.context import _get_global_client
from ray.serve.schema import LoggingConfig

from lstm_ray.config import Config, with_values
from lstm_ray.errors import InputError, nearest
from lstm_ray.model import stored
from lstm_ray.on_ray import cluster, orphans, registers, resources, servers, streams
from lstm_ray.on_ray.calls import SERVICER
from lstm_ray.on_ray.ports import free_port
from lstm_ray.on_ray.registers import register_of
from lstm_ray.on_ray.replica import Replica
from lstm_ray.registry.folder import at, require_free
from lstm_ray.sections.deploy import DeployConfig
from lstm_ray.sections.operate import MonitorConfig
from lstm_ray.sections.resources import NOTHING_SAID, ResourcesConfig, ShareConfig
from lstm_ray.serving.bundle import Packed, find, unpack
from lstm_ray.serving.gate import RETRY_SECONDS
from lstm_ray.serving.headers import BEFORE_SERVE
from lstm_ray.serving.secret import tokens

APPLICATION = "lstm-ray"
QUEUE_FACTOR = 4
"""A replica's queue holds this many times what it works on; more requests are answered with 503, and so are those that have
waited in it for longer than RETRY_SECONDS, however slow the replica is. HAProxy queues none: it opens a connection for each."""
REPLICA_CPUS = 0.5
"""Reserved for a replica, unless resources.deploy says otherwise: where a machine has two, other work must still find one."""
SHUTDOWN_SECONDS = 30.0
HEAD = "node:__internal_head__"
"""A resource that Ray gives to the head alone."""
HEALTH_SECONDS = 2.0
MEASURED = ("monitor.window", "monitor.false_alarms")
"""What a bundle's limits of drift hang on."""
ENVIRONMENT = {
    # Requests are read and answered by one thread: two would take turns at Python's lock, up to 5 ms a turn.
    "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": BEFORE_SERVE,
    # A proxy that is not up by then is killed, and Serve's start fails with it: on a busy machine 5 s are too few.
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",
    # Three checks in a row without an answer make a lost proxy; at the default of 10 s nobody is answered for half a minute.
    "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "1",
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
    asks: ResourcesConfig = NOTHING_SAID,
) -> Iterator[Served]:
    """Serve a policy, and those that an update puts in its place, until the block ends.

    Serve has one HTTP address in a cluster. Where it runs already, the application joins it under ``route``, and alone is
    removed afterwards; otherwise Serve starts on the host and port of ``deploy`` and ends with the block.

    Args:
        source: where the policy comes from, for people.
        history: the registry: folder in which every policy that is served is kept, and by which other processes of this user
            find the server; None: one that ends with the block.
        monitor: fields of the section monitor that hold for every policy that is served, whatever its own config says.
        asks: what each replica is given.

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
                registers.beside(register_of(application), files, source, history, shards, monitor or {}),
            ):
                serve.run(bound(deploy, asks, needed), name=application, route_prefix=route)
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
        overrides: ``deploy.field=value``, or of monitor or resources, parsed as YAML.

    Raises:
        InputError: no policy there, or settings that cannot be served.
    """
    files, config, monitor = settled(source, overrides)
    with (
        running(
            files, config.deploy, APPLICATION, "/", str(source), history_of(source), monitor, config.resources
        ) as served,
        _stop_signal() as stopped,
    ):
        print(f"serving {config.name} {stored.version(files)[:12]} at {served.url}/  (Ctrl-C stops it)", flush=True)
        stopped.wait()
        print("stopping", flush=True)


def settled(source: str | Path, overrides: Sequence[str]) -> tuple[Packed, Config, dict[str, Any]]:
    """A policy's files, its config with the overrides, and the fields of the section monitor among them.

    Raises InputError as ``serve_forever``.
    """
    files, values = find(source), _values(overrides)
    config = with_values(unpack(files).config, values)
    fields = (path.partition(".")[2] for path in values if path.startswith("monitor."))
    return files, config, {name: getattr(config.monitor, name) for name in fields}


def bound(
    deploy: DeployConfig,
    asks: ResourcesConfig,
    needed: Mapping[str, bytes],
    beginning: registers.Beginning | None = None,
) -> Any:
    """The application as Serve runs it.

    Args:
        asks: what each replica is given.
        needed: see Gate.
        beginning: of the register, where the first replica is to make it.

    Raises InputError where nodes that could hold the replicas do not come.
    """
    # What is deployed by a file Serve itself places, whenever there is room. It calls reconfigure where there is a user_config.
    options = {**_options(deploy, asks, waits=beginning is None), "user_config": {"follow": "register"}}
    deployment: Any = serve.deployment(name="policy", **options)(Replica)
    return deployment.bind(deploy.model_dump(), needed, beginning)


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
    if (head := _head_elsewhere()) and not host.is_unspecified:
        raise InputError(
            f"deploy.host {deploy.host} cannot be served from here: Serve answers at the cluster's head, {head}, and this is "
            "another machine; run this on the head, or set deploy.host to 0.0.0.0 and a token (deploy.token_file)"
        )
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
    # One proxy, at the head: without the head Ray's cluster is lost as well. KubeRay's RayService has one on every machine.
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
            f"the application '{application}' already runs at {host}:{port}; stop the process that serves it, or, where that "
            "was killed, change what is served with 'lstm-ray update', or end it with 'serve shutdown'"
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


def _options(deploy: DeployConfig, asks: ResourcesConfig, waits: bool = True) -> dict[str, Any]:
    """Raises InputError where it waits for nodes that could hold the replicas, and they do not come."""
    replica = resources.process(asks, "deploy", REPLICA_CPUS)
    if waits:
        resources.wait_for(replica, deploy.replicas, asks)
    return {
        "num_replicas": deploy.replicas,
        "max_ongoing_requests": deploy.max_ongoing_requests,
        "max_queued_requests": QUEUE_FACTOR * deploy.max_ongoing_requests,
        "backpressure_config": BackpressureConfig(retry_after_s=RETRY_SECONDS),
        "ray_actor_options": replica.replica(),
        # Ray Serve sees a lost replica by its checks alone; every 10 s, if nothing is said.
        "health_check_period_s": HEALTH_SECONDS,
        "graceful_shutdown_timeout_s": 5,
        "graceful_shutdown_wait_loop_s": 0.1,
        # A line for each request costs a tenth of the throughput; the monitor counts them.
        "logging_config": LoggingConfig(enable_access_log=False),
    }


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
    sections: dict[str, type[BaseModel]] = {
        "deploy": DeployConfig,
        "monitor": MonitorConfig,
        "resources.deploy": ShareConfig,
    }
    fields = [f"{section}.{name}" for section, kind in sections.items() for name in kind.model_fields]
    fields.append("resources.wait_seconds")
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
                f"--set {override!r}: a trained policy can be served with other fields of deploy, monitor and "
                f"resources.deploy alone, each as FIELD=VALUE{nearest(path, fields)}"
            )
        values[path] = yaml.safe_load(text)
    return values


def _named(deploy: DeployConfig) -> str:
    """Host and port for a URL; every interface is reached by loopback too, on the head."""
    everywhere = ipaddress.ip_address(socket.gethostbyname(deploy.host)).is_unspecified
    return f"{(_head_elsewhere() or '127.0.0.1') if everywhere else deploy.host}:{deploy.port}"


def _head_elsewhere() -> str:
    """Address of the cluster's head, where Serve's proxy runs; empty where that is this machine."""
    here = ray.get_runtime_context().get_node_id()
    heads = [node for node in ray.nodes() if HEAD in node["Resources"] and node["NodeID"] != here]
    return heads[0]["NodeManagerAddress"] if heads else ""


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
