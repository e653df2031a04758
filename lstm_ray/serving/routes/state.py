"""The routes that tell of a served policy: probes, what it is, its card and its monitor. Knows FastAPI."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, HTTPException, Response

from lstm_ray.serving import bodies
from lstm_ray.serving.routes.common import GET_REFUSALS
from lstm_ray.serving.service import Service


def add(app: FastAPI, service: Service, tell: Callable[[], dict[str, Any]]) -> None:
    """Health, readiness, policy, card and monitor.

    Args:
        tell: the policy as plain values.
    """
    version = service.policy.version
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
        return Response(json.dumps(body), 200 if service.ready else 503, media_type="application/json")

    @app.get(
        "/v1/policy",
        tags=["state"],
        summary="Schema, window, calibration, versions and validation metrics",
        **_told(tell(), {401: GET_REFUSALS[401]}),
    )
    async def policy() -> dict[str, Any]:
        return tell()

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
        return MarkdownResponse(service.card)

    @app.get(
        "/v1/monitor",
        tags=["state"],
        summary="Load, latency, input drift and live error",
        responses={**GET_REFUSALS, 503: {"model": bodies.Refused, "description": "the monitor does not answer"}},
    )
    async def monitor() -> dict[str, Any]:
        await service.flush()
        return await service.monitor.summary()


class MarkdownResponse(Response):
    media_type = "text/markdown"


def _told(example: dict[str, Any], refusals: dict[int, Any] | None = None) -> dict[str, Any]:
    return {"responses": {200: {"content": {"application/json": {"example": example}}}, **(refusals or {})}}
