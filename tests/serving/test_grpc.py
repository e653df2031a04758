"""The contract over gRPC: its messages, and that it answers and refuses as HTTP does."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf import descriptor_pb2

from lstm_ray.model.policy import Policy, SeriesInput
from lstm_ray.serving.api import make_app
from lstm_ray.serving.gate import digest
from lstm_ray.serving.grpc import answering, descriptor, messages
from lstm_ray.serving.grpc.answering import CallError
from lstm_ray.serving.log import Passed
from tests.serving import services as serving
from tests.serving.services import Client

FOLDER = Path(descriptor.__file__).parent
POLICY = serving.forecaster()
Code = grpc.StatusCode


def asked(*series: SeriesInput, **more: Any) -> Any:
    """A call's request."""
    request = messages.Request(**more)
    for one in series:
        added = request.series.add(name=one.name, times=[f"{np.datetime64(time, 's')}Z" for time in one.times])
        for sent, given in ((added.columns, one.columns), (added.future, one.future)):
            for name, values in given.items():
                sent[name].values.extend(np.asarray(values, dtype=np.float64).tolist())
    return request


def call(policy: Policy, method: str, request: Any, metadata: dict[str, str] | None = None, **values: Any) -> Any:
    service = serving.service(policy, **values)
    with Client(make_app(service)):
        return asyncio.run(answering.answered(service, method, request, metadata or {}))


def refused(
    policy: Policy, method: str, request: Any, metadata: dict[str, str] | None = None, **values: Any
) -> CallError:
    with pytest.raises(CallError) as caught:
        call(policy, method, request, metadata, **values)
    return caught.value


def test_the_descriptor_is_that_of_the_contract(tmp_path: Path) -> None:
    """Where this fails, the base64 in the message below, in lines of 100, is what descriptor.py has to hold."""
    protoc = pytest.importorskip("grpc_tools.protoc")
    out = tmp_path / "set"
    assert protoc.main(["protoc", f"-I{FOLDER}", f"--descriptor_set_out={out}", "policy.proto"]) == 0
    [wanted] = descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes()).file
    found = descriptor_pb2.FileDescriptorProto.FromString(base64.b64decode(descriptor.POLICY))
    assert found == wanted, base64.b64encode(wanted.SerializeToString()).decode()


def test_a_forecast_over_grpc_is_that_over_http() -> None:
    windows = [serving.window(origin, f"s{origin}") for origin in (100, 150)]
    found = call(POLICY, "Forecast", asked(*windows, quantiles=[0.2, 0.9]))
    with Client(make_app(serving.service(POLICY))) as client:
        told = client.post("/v1/forecast", json=serving.body_of(*windows, quantiles=[0.2, 0.9])).json()
    assert found.policy == told["policy"]
    for one, wanted in zip(found.forecasts, told["forecasts"], strict=True):
        assert (one.name, list(one.times)) == (wanted["name"], wanted["times"])
        target = wanted["targets"]["load"]
        np.testing.assert_array_equal(one.targets["load"].mean, target["mean"])
        np.testing.assert_array_equal(one.targets["load"].median, target["median"])
        assert set(one.targets["load"].quantiles) == {"0.2", "0.9"}
        np.testing.assert_array_equal(one.targets["load"].quantiles["0.2"].values, target["quantiles"]["0.2"])


def test_nan_is_a_missing_value() -> None:
    request = asked(serving.window())
    request.series[0].columns["wind"].values[3] = np.nan
    assert list(call(POLICY, "Forecast", request).forecasts[0].warnings) == [
        "1 of 12 values of 'wind' were missing and filled"
    ]


def test_classes_and_labels_are_told() -> None:
    sequence = serving.sequence_body()["series"][0]
    request = asked()
    one = request.series.add(name="one", times=sequence["times"])
    one.columns["load"].values.extend(sequence["columns"]["load"])
    classified = call(serving.classifier(), "Classify", request).classifications[0]
    assert classified.label == max(classified.probabilities, key=lambda name: classified.probabilities[name])
    labelled = call(serving.labeller("class"), "Label", request).labellings[0]
    assert len(labelled.labels) == len(labelled.times) == 12
    assert set(labelled.probabilities) == {"high", "low"}
    values = call(serving.labeller("value"), "Label", request).labellings[0]
    assert (len(values.values), len(values.labels)) == (12, 0)


def test_a_call_is_refused_in_the_words_of_http() -> None:
    short = asked(serving.window())
    short.series[0].columns["load"].values.pop()
    both = asked(serving.window())
    both.series[0].steps.append(1)
    infinite = asked(serving.window())
    infinite.series[0].columns["load"].values[0] = np.inf
    cases = [
        (short, "column 'load'"),
        (both, "both times and steps"),
        (infinite, "an infinite value"),
        (asked(), "no series given"),
        (asked(serving.window(), quantiles=[0.95]), "quantile 0.95 is not known"),
        (asked(serving.window(), quantiles=[np.nan]), "quantile nan is not known"),
    ]
    for request, words in cases:
        error = refused(POLICY, "Forecast", request)
        assert error.code is Code.INVALID_ARGUMENT
        assert words in error.words
    other = refused(POLICY, "Classify", asked(serving.window()))
    assert (other.code, other.words) == (Code.UNIMPLEMENTED, "this policy does not classify; call Forecast")
    large = refused(POLICY, "Forecast", asked(serving.window()), max_body_bytes=100)
    assert large.code is Code.RESOURCE_EXHAUSTED


def test_a_call_needs_the_token_and_health_does_not() -> None:
    guarded = {"tokens": {"token": digest(b"a long secret")}}
    for metadata in ({}, {"authorization": "Bearer wrong"}, {"authorization": "a long secret"}):
        error = refused(POLICY, "Forecast", asked(serving.window()), metadata, **guarded)
        assert error.code is Code.UNAUTHENTICATED
    right = {"authorization": "Bearer a long secret"}
    assert call(POLICY, "Forecast", asked(serving.window()), right, **guarded).forecasts
    assert call(POLICY, "Health", messages.HealthRequest(), **guarded).status == "ready"


def test_a_call_is_given_up_and_counted() -> None:
    service, passed = serving.service(POLICY, predict_seconds=0.02), list[Passed]()
    service.record = passed.append

    async def slow(given: Any) -> Any:
        await asyncio.sleep(5)

    service.predict = slow
    with pytest.raises(CallError, match="too long") as caught:
        asyncio.run(answering.answered(service, "Forecast", asked(serving.window()), {"request_id": "mine"}))
    assert caught.value.code is Code.DEADLINE_EXCEEDED
    [one] = passed
    assert (one.request_id, one.route, one.status) == ("mine", "/lstm_ray.Policy/Forecast", 504)
    assert one.num_series == 1


def test_a_server_made_of_the_messages_answers_a_client() -> None:
    service = serving.service(POLICY)

    class Servicer:
        async def Forecast(self, request: Any, context: Any) -> Any:  # noqa: N802
            return await answering.answered(service, "Forecast", request, {})

        Classify = Label = Health = Forecast

    async def over_the_wire() -> Any:
        server = grpc.aio.server()
        messages.add_policy_to_server(Servicer(), server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            found = await messages.stub(channel).Forecast(asked(serving.window()))
        await server.stop(None)
        return found

    assert len(asyncio.run(over_the_wire()).forecasts[0].targets["load"].median) == 6
