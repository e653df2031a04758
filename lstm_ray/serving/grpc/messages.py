"""The messages of policy.proto and the service that carries them, for servers and clients. Knows gRPC; knows no policy.

Made from the contract's descriptor when this is imported, so any protobuf that Ray brings will do; code that protoc generates
would ask for one as new as itself.
"""

from __future__ import annotations

import base64
from types import SimpleNamespace
from typing import Any

import grpc
from google.protobuf import descriptor_pool, message_factory

from lstm_ray.serving.grpc.descriptor import POLICY

_FILE = descriptor_pool.Default().AddSerializedFile(base64.b64decode(POLICY))
SERVICE = _FILE.services_by_name["Policy"]


def _message(name: str) -> Any:
    return message_factory.GetMessageClass(_FILE.message_types_by_name[name])


Request, Series, Values = _message("Request"), _message("Series"), _message("Values")
ForecastAnswer, ClassifyAnswer, LabelAnswer = (
    _message("ForecastAnswer"),
    _message("ClassifyAnswer"),
    _message("LabelAnswer"),
)
HealthRequest, HealthAnswer = _message("HealthRequest"), _message("HealthAnswer")


def add_policy_to_server(servicer: Any, server: Any) -> None:
    """Have a gRPC server answer with the methods of ``servicer``: Forecast, Classify, Label and Health."""
    handlers = {
        method.name: grpc.unary_unary_rpc_method_handler(
            getattr(servicer, method.name),
            request_deserializer=_of(method.input_type).FromString,
            response_serializer=_of(method.output_type).SerializeToString,
        )
        for method in SERVICE.methods
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE.full_name, handlers),))


def stub(channel: Any) -> Any:
    """The service as a client calls it: ``stub(channel).Forecast(Request(...), metadata=...)``."""
    calls = {
        method.name: channel.unary_unary(
            f"/{SERVICE.full_name}/{method.name}",
            request_serializer=_of(method.input_type).SerializeToString,
            response_deserializer=_of(method.output_type).FromString,
        )
        for method in SERVICE.methods
    }
    return SimpleNamespace(**calls)


def _of(descriptor: Any) -> Any:
    return message_factory.GetMessageClass(descriptor)
