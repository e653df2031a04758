"""The OpenAPI of a served policy: what FastAPI finds, and what only the policy knows. Knows no server."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from lstm_ray.model.policy import Policy
from lstm_ray.serving.bodies import TIMES_WORDS
from lstm_ray.serving.gate import is_open

SCHEME = "bearer"
METHODS = ("get", "post", "put", "delete", "patch")


def document(app: FastAPI, policy: Policy, guarded: bool) -> None:
    """Have the application tell of itself in full.

    Args:
        guarded: whether a bearer token is needed.
    """

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            found = get_openapi(
                title=app.title, version=app.version, description=app.description, routes=app.routes, tags=TAGS
            )
            # Relative to this document, so it holds under whatever prefix and proxy it was fetched.
            found["servers"] = [{"url": "./", "description": "the server that this document came from"}]
            _tell_columns(found["components"]["schemas"], policy)
            if guarded:
                _tell_token(found)
            app.openapi_schema = found
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


TAGS = [
    {"name": "predict", "description": "Ask the policy, and bring it the truth."},
    {"name": "streams", "description": "Observe step by step, and forecast from the state that is kept."},
    {"name": "state", "description": "What is served, and how it fares."},
]


def _tell_columns(schemas: dict[str, Any], policy: Policy) -> None:
    """The names that this policy reads, and the history that it needs."""
    told = schemas["Series"]["properties"]
    schema, window = policy.schema, policy.config.window
    forecast = policy.config.task == "forecast"
    least = window.history if forecast else 1
    names = [*schema.target, *schema.past, *schema.known]
    for field, wanted in (("columns", names), ("future", schema.known)):
        column = next(kind for kind in _kinds(told[field]) if kind.get("type") == "object")
        values = column.pop("additionalProperties")
        column.pop("propertyNames", None)
        if field == "columns":
            # How far ahead a plan reads is the plan's own.
            values, column["required"] = {**values, "minItems": least}, names
        column |= {"properties": dict.fromkeys(wanted, values), "additionalProperties": False}
    for kind in (*_kinds(told["times"]), *_kinds(told["records"])):
        if kind.get("type") == "array":
            kind["minItems"] = least
    told["times"]["description"] = f"{TIMES_WORDS}; at least {least}"


def _kinds(field: dict[str, Any]) -> list[dict[str, Any]]:
    """What a field may be, however its alternatives are nested."""
    if "anyOf" not in field:
        return [field]
    return [kind for one in field["anyOf"] for kind in _kinds(one)]


def _tell_token(found: dict[str, Any]) -> None:
    words = "the secret that this server was started with"
    scheme = {"type": "http", "scheme": "bearer", "description": words}
    found["components"]["securitySchemes"] = {SCHEME: scheme}
    for path, operations in found["paths"].items():
        for method in METHODS:
            if method in operations and not is_open(path):
                operations[method]["security"] = [{SCHEME: []}]
