"""What a request gets that is not answered: one JSON shape that says where the fault is and what to do. Knows no routes."""

from __future__ import annotations

import json
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from lstm_ray.errors import InputError
from lstm_ray.serving.service import MonitorLostError

MAX_DETAILS = 20
"""Faults of one request that are told; the others would only repeat them."""


def explain_refusals(app: FastAPI) -> None:
    """Answer every fault that a route may raise in the one shape."""
    app.add_exception_handler(RequestValidationError, _explain_body)
    app.add_exception_handler(HTTPException, _explain_status)
    app.add_exception_handler(InputError, _explain_input)
    app.add_exception_handler(TimeoutError, _explain_timeout)
    app.add_exception_handler(MonitorLostError, _explain_lost)


def _detail(status: int, items: list[dict[str, Any]]) -> Response:
    # ASCII alone: a field name may hold half a surrogate pair, which has no UTF-8 form.
    return Response(json.dumps({"detail": items}), status, media_type="application/json")


async def _explain_body(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    items = []
    for item in error.errors()[:MAX_DETAILS]:
        words = "unknown field; remove it or correct its name" if item["type"] == "extra_forbidden" else item["msg"]
        more = f": {item['ctx']['error']}" if item["type"] == "json_invalid" else ""
        items.append({"loc": list(item["loc"]), "msg": words.removeprefix("Value error, ") + more})
    return _detail(422, items)


async def _explain_status(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 400:
        # FastAPI's answer to a body that its JSON parser gives up on, such as brackets nested by the thousand.
        return _detail(422, [{"loc": ["body"], "msg": "the body is no JSON that can be read; send one object"}])
    return _detail(error.status_code, [{"loc": ["path"], "msg": str(error.detail)}])


async def _explain_input(request: Request, error: Exception) -> Response:
    return _detail(422, [{"loc": ["body"], "msg": str(error)}])


async def _explain_timeout(request: Request, error: Exception) -> Response:
    return _detail(504, [{"loc": [], "msg": "the prediction took too long; send fewer series or try again later"}])


async def _explain_lost(request: Request, error: Exception) -> Response:
    return _detail(503, [{"loc": [], "msg": "the monitor does not answer; try again later"}])
