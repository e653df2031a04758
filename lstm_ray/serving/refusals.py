"""What a request gets that is not answered: one JSON shape that says where the fault is and what to do. Knows no routes."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from lstm_ray.errors import InputError
from lstm_ray.serving.routes.reading import UnreadableError
from lstm_ray.serving.service import MonitorLostError

MAX_DETAILS = 20
"""Faults of one request that are told; the others would only repeat them."""
_log = logging.getLogger(__name__)


def explain_refusals(app: FastAPI) -> None:
    """Answer every fault that a route may raise in the one shape."""
    app.add_exception_handler(RequestValidationError, _explain_fields)
    app.add_exception_handler(ValidationError, _explain_body)
    app.add_exception_handler(UnreadableError, _explain_input)
    app.add_exception_handler(HTTPException, _explain_status)
    app.add_exception_handler(InputError, _explain_input)
    app.add_exception_handler(TimeoutError, _explain_timeout)
    app.add_exception_handler(MonitorLostError, _explain_lost)
    app.add_exception_handler(FloatingPointError, _explain_not_finite)


def detail(status: int, items: list[dict[str, Any]], headers: Mapping[str, str] | None = None) -> Response:
    """An answer in the one shape: each item has loc and msg."""
    # ASCII alone: a field name may hold half a surrogate pair, which has no UTF-8 form.
    return Response(json.dumps({"detail": items}), status, headers, media_type="application/json")


async def _explain_body(request: Request, error: Exception) -> Response:
    """What a route's own reading of the body found."""
    assert isinstance(error, ValidationError)
    return _faults([{**item, "loc": ("body", *item["loc"])} for item in error.errors(include_url=False)[:MAX_DETAILS]])


async def _explain_fields(request: Request, error: Exception) -> Response:
    """What FastAPI found in paths, queries, or bodies that it read itself."""
    assert isinstance(error, RequestValidationError)
    return _faults(list(error.errors()[:MAX_DETAILS]))


def _faults(errors: list[dict[str, Any]]) -> Response:
    items = []
    for item in errors:
        words = "unknown field; remove it or correct its name" if item["type"] == "extra_forbidden" else item["msg"]
        more = f": {item['ctx']['error']}" if item["type"] == "json_invalid" else ""
        items.append({"loc": list(item["loc"]), "msg": words.removeprefix("Value error, ") + more})
    return detail(422, items)


async def _explain_status(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    words, where = str(error.detail), "path"
    if error.status_code == 404 and words == "Not Found":
        words = "Not Found: nothing is served at this path; GET /docs tells what is"
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "another method")
        words, where = f"Method Not Allowed: use {allowed}; GET /docs tells what each path takes", "method"
    return detail(error.status_code, [{"loc": [where], "msg": words}], error.headers)


async def _explain_input(request: Request, error: Exception) -> Response:
    return detail(422, [{"loc": ["body"], "msg": str(error)}])


async def _explain_timeout(request: Request, error: Exception) -> Response:
    return detail(504, [{"loc": [], "msg": "the prediction took too long; send fewer series or try again later"}])


async def _explain_lost(request: Request, error: Exception) -> Response:
    words = "the monitor does not answer; try again later"
    return detail(503, [{"loc": [], "msg": words}], {"retry-after": "1"})


async def _explain_not_finite(request: Request, error: Exception) -> Response:
    _log.error("%s", error)
    return detail(500, [{"loc": [], "msg": f"{error}, so it is not answered; send less extreme values"}])
