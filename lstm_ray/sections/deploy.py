"""The section of the stage that serves a policy."""

from __future__ import annotations

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
        default=None, description="file whose content is the bearer token; needed to bind beyond loopback"
    )
