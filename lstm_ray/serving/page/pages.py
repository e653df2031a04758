"""Serves what people see of a policy: the pages, and the style and script beside them. Knows no policy's routes.

Nothing is loaded from elsewhere, and headers see to it: pages may run only the scripts that this server has, and may make
no HTML of text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from fastapi import FastAPI, HTTPException, Request, Response

PAGES: Mapping[str, str] = {"/": "page.html", "/docs": "docs.html"}
ASSETS = "/page/"
"""Below it lie style and script, relative to the pages."""
LOOK = "look.css"
"""Type and colours, which are the report's."""
SCRIPTS = (
    "theme",
    "page",
    "docs",
    "server",
    "source",
    "data",
    "sliders",
    "answer",
    "chart",
    "plan",
    "monitor",
    "card",
    "why",
)
NAMES = frozenset({LOOK, "page.css", *(f"{name}.js" for name in SCRIPTS)})
KINDS = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    # Asked about each time and answered by 304: a new version of the server is seen at once.
    "cache-control": "no-cache",
}


@dataclass(frozen=True)
class _File:
    content: bytes
    kind: str
    tag: str


def is_public(path: str) -> bool:
    """Whether a path holds nothing of the policy, and so needs no token."""
    return path in PAGES or path.removeprefix(ASSETS) in NAMES


def add_pages(app: FastAPI) -> None:
    """GET / and /docs, and what they load."""

    @app.get("/", include_in_schema=False)
    async def page(request: Request) -> Response:
        return _answer(PAGES["/"], request)

    @app.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> Response:
        return _answer(PAGES["/docs"], request)

    @app.get(ASSETS + "{name}", include_in_schema=False)
    async def asset(name: str, request: Request) -> Response:
        if name not in NAMES:
            raise HTTPException(404, "there is no such file")
        return _answer(name, request)


def _answer(name: str, request: Request) -> Response:
    file = _file(name)
    headers = {**HEADERS, "etag": file.tag}
    known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    if file.tag in known:
        return Response(status_code=304, headers=headers)
    return Response(file.content, media_type=file.kind, headers=headers)


@cache
def _file(name: str) -> _File:
    place = files("lstm_ray") / ("report/page.css" if name == LOOK else f"serving/page/{name}")
    content = place.read_bytes()
    return _File(content, KINDS[name.rpartition(".")[2]], f'"{hashlib.sha256(content).hexdigest()[:20]}"')
