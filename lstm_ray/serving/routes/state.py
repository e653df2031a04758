"""The routes that tell of a served policy: probes, what it is, its card and its monitor. Knows FastAPI."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, HTTPException, Response

from lstm_ray.serving import bodies
from lstm_ray.serving.metrics import CONTENT_TYPE, exposition
from lstm_ray.serving.monitored import Monitored
from lstm_ray.serving.routes.common import GET_REFUSALS
from lstm_ray.serving.service import Service

LOST = "the register does not answer: no request is counted, no row is kept, and no other policy can be put in"
"""Predictions go on with the policy that each replica holds."""


def add(app: FastAPI, service: Service, tell: Callable[[], dict[str, Any]]) -> None:
    """Health, readiness, policy, card, monitor and metrics.

    Args:
        tell: the policy as plain values.
    """
    version = service.policy.version
    lost = {"model": bodies.Refused, "description": "the monitor does not answer"}
    ready = {"application/json": {"example": {"status": "ready", "policy": version}}}

    @app.get("/healthz", tags=["state"], summary="The process answers", **_told({"status": "ok"}))
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get(
        "/readyz",
        tags=["state"],
        summary="A prediction has succeeded",
        responses={200: {"content": ready}, 503: {"description": "not yet", "model": bodies.Readiness}},
        response_model=bodies.Readiness,
    )
    async def readyz() -> Response:
        body = {"status": "ready" if service.ready else "not ready", "policy": version}
        if service.monitor_lost:
            body["warning"] = LOST
        return Response(json.dumps(body), 200 if service.ready else 503, media_type="application/json")

    @app.get(
        "/v1/policy",
        tags=["state"],
        summary="Schema, window, calibration, versions and validation metrics",
        **_told({**tell(), "flags": []}, {401: GET_REFUSALS[401]}),
    )
    async def policy() -> dict[str, Any]:
        return {**tell(), "flags": await service.flags()}

    @app.get(
        "/v1/card",
        tags=["state"],
        summary="The model card, as Markdown",
        response_class=MarkdownResponse,
        responses={401: GET_REFUSALS[401], 404: {"model": bodies.Refused, "description": "there is no card"}},
    )
    async def card() -> Response:
        if not service.card:
            raise HTTPException(404, "this policy has no card: 'lstm-ray deploy' writes one beside it")
        flags = await service.flags()
        said = "".join(f"- {words}\n" for words in flags)
        return MarkdownResponse(service.card + (f"\n## What came up since\n\n{said}" if flags else ""))

    @app.get(
        "/v1/monitor",
        tags=["state"],
        summary="Alarms, load, latency, drift, anomalies and live error",
        responses={**GET_REFUSALS, 200: {"model": Monitored}, 503: lost},
    )
    async def monitor() -> dict[str, Any]:
        await service.flush()
        return await service.monitor.summary()

    @app.get(
        "/metrics",
        tags=["state"],
        summary="The same for Prometheus, of all replicas together",
        response_class=MetricsResponse,
        responses={401: GET_REFUSALS[401], 503: lost},
    )
    async def metrics() -> Response:
        await service.flush()
        return MetricsResponse(exposition(await service.monitor.summary()))


class MarkdownResponse(Response):
    media_type = "text/markdown"


class MetricsResponse(Response):
    media_type = CONTENT_TYPE


def _told(example: dict[str, Any], refusals: dict[int, Any] | None = None) -> dict[str, Any]:
    return {"responses": {200: {"content": {"application/json": {"example": example}}}, **(refusals or {})}}
