"""How a route reads its body: JSON to the route's model in one go. Knows FastAPI; knows no policy.

FastAPI itself would read a body through its dependencies, at about the cost of the rest of the route.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic_core import from_json

NAME = re.compile(rb'"\s*:')
"""The end of a name in an object; within text, too, where that holds a quotation mark and a colon."""
SERIES = "lstm_ray.series"
"""Where a request's scope holds how many series were sent."""
NAMES, FEW = "lstm_ray.names", 3
"""Where it holds the names of so many of them."""


class UnreadableError(ValueError):
    """The body is no JSON, or no JSON that means one thing."""


class JsonRoute(APIRoute):
    """A route that takes a body and at most names in its path is called with them; any other is left to FastAPI.

    The model is the body parameter's, by which FastAPI documents it, too. Names in the path are handed on as they came.
    """

    def get_route_handler(self) -> Callable[[Request], Any]:
        needs = self.dependant
        others = [needs.query_params, needs.header_params, needs.cookie_params, needs.dependencies]
        if len(needs.body_params) != 1 or any(others) or needs.request_param_name:
            return super().get_route_handler()
        model = needs.body_params[0].field_info.annotation
        assert isinstance(model, type), "a body is one model"
        assert issubclass(model, BaseModel), "a body is one model"
        answer: Callable[..., Awaitable[Response]] = self.endpoint
        names = [param.name for param in needs.path_params]

        async def handle(request: Request) -> Response:
            body = read(model, await request.body())
            series = getattr(body, "series", ())
            request.scope[SERIES] = len(series)
            request.scope[NAMES] = [one.name for one in series[:FEW] if one.name]
            return await answer(*(request.path_params[name] for name in names), body)

        return handle


def read(model: type[BaseModel], raw: bytes) -> BaseModel:
    """A body as its model. Raises UnreadableError where it is no JSON, ValidationError where it is another."""
    if not raw.strip():
        raise UnreadableError("the body is empty; send one object such as the example in /docs")
    try:
        # The parser in pydantic: of numbers it reads twice as many in the same time as that of Python.
        found = from_json(raw, cache_strings="keys")
    except ValueError as error:
        # Nested by the hundred, a number of thousands of digits, half a letter, and whatever else is no JSON.
        raise UnreadableError(
            f"the body is no JSON that can be read: {error}; send one object such as the example in /docs"
        ) from None
    if len(NAME.findall(raw)) != _num_names(found):
        _require_once(raw)
    return model.model_validate(found)


def _num_names(value: Any) -> int:
    """Names of all objects within a value; too few where a list does not begin as it goes on."""
    if isinstance(value, dict):
        return len(value) + sum(map(_num_names, value.values()))
    if isinstance(value, list) and value and isinstance(value[0], dict | list):
        return sum(map(_num_names, value))
    return 0


def _require_once(raw: bytes) -> None:
    """Raises UnreadableError where an object holds a name twice: the parser would take the last in silence."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise UnreadableError(f"'{twice[:100]}' is there twice in one object, so it is not clear what is meant")
        return dict(pairs)

    json.loads(raw, object_pairs_hook=once)
