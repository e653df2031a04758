"""What is done to a request before Ray Serve reads its headers and has it wait. Plain ASGI; knows no Ray.

Serve decodes some values as UTF-8 and fails, with 500, where they are not; and it sends any request id back as it came.
"""

from __future__ import annotations

from starlette.middleware import Middleware

from lstm_ray.serving.gate import ID, App, Receive, Scope, Send, arrived, request_id_of

BEFORE_SERVE = f"{__name__}.before_serve"
"""What Serve's variable RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH names."""


class SaneHeaders:
    """Hands on headers that are text, with a request id that a log can hold: the caller's, or one that is made up; and notes
    when the request came."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope["headers"] = [(name, _sane(name, value)) for name, value in scope["headers"]]
            arrived(scope)
        await self._app(scope, receive, send)


def before_serve() -> list[Middleware]:
    """The middlewares that Serve puts before its own."""
    return [Middleware(SaneHeaders)]


def _sane(name: bytes, value: bytes) -> bytes:
    if name == ID:
        return request_id_of(value).encode()
    # HTTP's own reading of such bytes is Latin-1.
    return value if value.isascii() else value.decode("latin-1").encode()
