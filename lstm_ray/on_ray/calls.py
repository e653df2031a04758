"""The methods of policy.proto as Ray Serve calls a replica for them. Knows the switch; knows no messages."""

from __future__ import annotations

from typing import Any

import grpc

from lstm_ray.serving.grpc.answering import CallError, answered
from lstm_ray.serving.switching.switch import Switch, UnknownPolicyError

SERVICER = "lstm_ray.serving.grpc.messages.add_policy_to_server"
"""What Serve has its gRPC servers answer with."""


class Calls:
    """A replica's gRPC: each call is answered by the policy that the switch gives it to.

    Serve sends a status that was set beside whatever error is raised.
    """

    _switch: Switch

    async def Forecast(self, request: Any, grpc_context: Any) -> Any:  # noqa: N802
        return await self._called("Forecast", request, grpc_context)

    async def Classify(self, request: Any, grpc_context: Any) -> Any:  # noqa: N802
        return await self._called("Classify", request, grpc_context)

    async def Label(self, request: Any, grpc_context: Any) -> Any:  # noqa: N802
        return await self._called("Label", request, grpc_context)

    async def Health(self, request: Any, grpc_context: Any) -> Any:  # noqa: N802
        return await self._called("Health", request, grpc_context)

    async def _called(self, method: str, request: Any, context: Any) -> Any:
        metadata = {name: value for name, value in context.invocation_metadata() if isinstance(value, str)}
        choice, request_id = (metadata.get(name) for name in ("x-policy", "request_id"))
        # Serve makes one up where the caller sent none, and tells it in the answer.
        metadata |= {name: value for name, value in context.trailing_metadata() if name == "request_id"}
        try:
            lane = self._switch.choose(_bytes(choice), _bytes(request_id), method != "Health")
            with lane.busy():
                return await answered(lane.served.service, method, request, metadata)
        except UnknownPolicyError as error:
            _set(context, grpc.StatusCode.INVALID_ARGUMENT, str(error))
            raise
        except CallError as error:
            _set(context, error.code, error.words)
            raise


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else text.encode()


def _set(context: Any, code: grpc.StatusCode, words: str) -> None:
    context.set_code(code)
    context.set_details(words)
