"""The section of the stage that serves a policy."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lstm_ray.sections.base import Section


class DeployConfig(Section):
    """The served policy."""

    host: str = Field(default="127.0.0.1", description="address the server binds to; loopback unless you mean it")
    port: int = Field(default=8000, ge=0, le=65535, description="HTTP port; 0: any free one")
    replicas: int = Field(default=1, gt=0, description="Ray Serve replicas")
    max_ongoing_requests: int = Field(default=64, gt=0, description="requests a replica holds before it queues")
    max_body_bytes: int = Field(default=1_000_000, gt=0, description="larger requests are refused")
    load_seconds: float = Field(default=2.0, gt=0, description="length of the short load test")
    load_connections: int = Field(default=8, gt=0, description="clients of the short load test")
    token_file: str | None = Field(
        default=None,
        description="file with the bearer token; or with several, one a line, each after a name without spaces ('NAME TOKEN'), "
        "by which the request log tells them; this or the variable of token_variable is needed to bind beyond loopback",
    )
    token_variable: str = Field(
        default="LSTM_RAY_TOKEN",
        min_length=1,
        description="environment variable that holds the bearer token, where it is set and token_file is not",
    )
    predict_seconds: float = Field(
        default=30.0, gt=0, description="a prediction that takes longer is answered with 504"
    )
    body_seconds: float = Field(
        default=10.0, gt=0, description="a body that takes longer to arrive is answered with 408"
    )
    request_log: Literal["none", "errors", "all"] = Field(
        default="all",
        description="requests that replicas log, each as one line of JSON without bodies, tokens or series names: none, those "
        "refused or failed, or all",
    )
    grpc_port: int | None = Field(
        default=None, ge=0, le=65535, description="port on which gRPC is answered too; 0: any free one; none: no gRPC"
    )
    streams: int = Field(
        default=10_000,
        ge=0,
        description="series whose LSTM state is kept (POST /v1/streams/ID/observe) at most; the one idle longest makes room; "
        "0: none",
    )
    stream_idle_seconds: float = Field(
        default=604_800.0, gt=0, description="a stream that was neither advanced nor read for so long is forgotten"
    )
    streams_dir: str | None = Field(
        default=None,
        description="folder in which streams outlive a lost process, on a disk that all machines of the cluster see where "
        "there are several; none: 'streams' beside the policy that is served, or, where that is on no local disk, a folder of "
        "temporary files",
    )
    export: list[Literal["onnx", "torch"]] = Field(
        default=[], description="write the policy's network into its bundle in these forms too, checked against it"
    )
