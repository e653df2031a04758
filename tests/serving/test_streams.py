"""Streams over HTTP and on the disk, in this process."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lstm_ray.errors import InputError
from lstm_ray.model.policy import Policy
from lstm_ray.serving import bodies
from lstm_ray.serving.api import make_app
from lstm_ray.serving.bundle import unpack
from lstm_ray.serving.streams.keeper import SNAPSHOT_STEPS, Keeper
from lstm_ray.serving.streams.messages import Ahead, Steps, UnknownStreamError
from lstm_ray.serving.streams.store import Store
from tests import made
from tests.serving import services as serving
from tests.serving.services import Client

Json = dict[str, Any]
POLICY = unpack(serving.forecaster().files())
DAY = 86_400.0


class Clock:
    now = 1e9

    def __call__(self) -> float:
        return self.now


def files_of(policy: Policy) -> dict[str, bytes]:
    return policy.files()


def keeper_of(file: Path, clock: Clock | None = None, **values: Any) -> Keeper:
    store = Store(file)
    if not store.policy:
        store.policy = files_of(POLICY)
    return Keeper(store, **({"most": 100, "idle_seconds": 7 * DAY, "clock": clock or Clock()} | values))


class Here:
    """A keeper in this process, as routes call it."""

    def __init__(self, keeper: Keeper) -> None:
        self.keeper = keeper

    def __getattr__(self, name: str) -> Any:
        async def call(*arguments: Any) -> Any:
            return getattr(self.keeper, name)(*arguments)

        return call


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[Keeper]:
    found = keeper_of(tmp_path / "streams" / "0.sqlite")
    yield found
    found.close()


@pytest.fixture
def client(keeper: Keeper) -> Iterator[Client]:
    with Client(make_app(serving.service(POLICY, streams=Here(keeper)))) as found:
        yield found


def history(first: int = 80, end: int = 100) -> Json:
    """A PUT's body; ``future`` is taken out of it."""
    [series] = serving.body_of(made.series_input(serving.segments(), end - 1, end - first, 6, ""))["series"]
    return {name: series[name] for name in ("times", "columns")}


def step(at: int, **columns: Any) -> Json:
    found = history(at, at + 1)
    return {**found, "columns": {**found["columns"], **columns}}


def ahead(end: int = 100) -> Json:
    return {"future": serving.body_of(made.series_input(serving.segments(), end - 1, 20, 6, ""))["series"][0]["future"]}


def expected(first: int, end: int, name: str = "one") -> Json:
    patch = POLICY.config.window.patch
    policy = POLICY.reading((end - first) // patch * patch)
    item = made.series_input(serving.segments(), end - 1, end - first, 6, name)
    [found] = policy.predict([item])
    return bodies.forecast_answer(name, found, POLICY, POLICY.quantiles).model_dump()


def require_alike(found: Json, wanted: Json) -> None:
    assert found["times"] == wanted["times"]
    atol = 1e-5 * float(POLICY.scaler.target_deviation[0])
    for level, values in wanted["targets"]["load"]["quantiles"].items():
        np.testing.assert_allclose(found["targets"]["load"]["quantiles"][level], values, atol=atol)


def test_a_stream_is_begun_advanced_forecast_told_of_and_deleted(client: Client) -> None:
    begun = client.request("PUT", "/v1/streams/one", json=history())
    assert begun.status_code == 200, begun.text
    assert begun.json() == {
        "id": "one",
        "name": "one",
        "policy": POLICY.version,
        "steps": 20,
        "time": history()["times"][-1],
        "num_bytes": begun.json()["num_bytes"],
    }
    for at in range(100, 109):
        answer = client.post("/v1/streams/one/observe", json=step(at))
        assert (answer.status_code, answer.json()["steps"]) == (200, at - 79)
    answer = client.post("/v1/streams/one/forecast", json=ahead(109))
    assert answer.status_code == 200, answer.text
    assert answer.json()["policy"] == POLICY.version
    require_alike(answer.json()["forecasts"][0], expected(80, 109))
    facts = client.get("/v1/streams/one")
    assert facts.json()["steps"] == 29
    assert answer.headers["x-policy-version"] == facts.headers["x-policy-version"] == POLICY.version
    assert client.request("DELETE", "/v1/streams/one").status_code == 204
    assert client.get("/v1/streams/one").status_code == 404
    assert client.get("/v1/policy").json()["streams"] is True


def test_records_and_quantiles_are_read_as_those_of_a_forecast(client: Client) -> None:
    client.request("PUT", "/v1/streams/one", json=history())
    at = step(100)
    record = {"time": at["times"][0], **{name: values[0] for name, values in at["columns"].items()}}
    assert client.post("/v1/streams/one/observe", json={"records": [record]}).json()["steps"] == 21
    future = [{"price": value} for value in ahead(101)["future"]["price"]]
    answer = client.post("/v1/streams/one/forecast", json={"future_records": future, "quantiles": [0.5, 0.7]})
    assert answer.status_code == 200, answer.text
    assert set(answer.json()["forecasts"][0]["targets"]["load"]["quantiles"]) == {"0.5", "0.7"}


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words"),
    [
        ("GET", "/v1/streams/none", None, 404, "PUT /v1/streams/none"),
        ("DELETE", "/v1/streams/none", None, 404, "never begun"),
        ("POST", "/v1/streams/none/observe", step(100), 404, "never begun"),
        ("POST", "/v1/streams/one/observe", step(99, load=[3.0]), 409, "read with other values"),
        ("POST", "/v1/streams/one/observe", step(10), 409, "older than what is kept"),
        ("POST", "/v1/streams/one/observe", step(150), 409, "cut a series"),
        ("POST", "/v1/streams/one/observe", step(100, snow=[1.0]), 422, "is no input"),
        ("POST", "/v1/streams/one/observe", {"times": ["soon"], "columns": {}}, 422, "times"),
        ("POST", "/v1/streams/one/observe", {"times": [], "columns": {}}, 422, "no step was sent"),
        ("POST", "/v1/streams/one/observe", {"records": [], **step(100)}, 422, "send one of them"),
        ("POST", "/v1/streams/one/observe", {}, 422, "send 'times' and 'columns'"),
        ("POST", "/v1/streams/one/forecast", {}, 422, "'price' is missing"),
        ("POST", "/v1/streams/one/forecast", {**ahead(), "quantiles": [0.99]}, 422, "0.99"),
        ("PUT", "/v1/streams/one", history(95), 422, "5 steps of history; send at least 12"),
        ("PUT", "/v1/streams/one", {**history(), **ahead()}, 422, "future belongs to its forecast"),
        ("GET", "/v1/streams/a%20b", None, 422, "pattern"),
        ("POST", "/v1/streams/.a/observe", step(100), 422, "is no id of a stream"),
        ("PUT", "/v1/streams/a%0A", history(), 422, "is no id of a stream"),
        ("PUT", "/v1/streams/a%20b", history(), 422, "is no id of a stream"),
        ("PUT", "/v1/streams/" + "x" * 201, history(), 422, "is no id of a stream"),
    ],
)
def test_what_is_wrong_is_refused_in_the_one_shape(
    client: Client, method: str, path: str, body: Json | None, status: int, words: str
) -> None:
    assert client.request("PUT", "/v1/streams/one", json=history()).status_code == 200
    answer = client.request(method, path, **({"json": body} if body is not None else {}))
    assert (answer.status_code, len(answer.json()["detail"]) > 0) == (status, True), answer.text
    assert words in answer.json()["detail"][0]["msg"], answer.text
    assert client.get("/v1/streams/one").json()["steps"] == 20


def test_an_observation_that_is_sent_again_changes_nothing(client: Client) -> None:
    client.request("PUT", "/v1/streams/one", json=history())
    first, second = (client.post("/v1/streams/one/observe", json=step(100)) for _ in range(2))
    assert first.json() == second.json()


def test_a_policy_without_known_inputs_is_asked_with_get_too(tmp_path: Path) -> None:
    segments = serving.segments(known=False)
    policy = made.random_policy(made.make_config(), segments)
    store = Store(tmp_path / "s.sqlite")
    store.policy = files_of(policy)
    keeper = Keeper(store, 10, DAY)
    with Client(make_app(serving.service(policy, streams=Here(keeper)))) as client:
        [series] = serving.body_of(made.series_input(segments, 99, 20, 6, ""))["series"]
        client.request("PUT", "/v1/streams/one", json={name: series[name] for name in ("times", "columns")})
        got, posted = client.get("/v1/streams/one/forecast"), client.post("/v1/streams/one/forecast", json={})
        assert got.status_code == 200
        assert got.json() == posted.json()
    keeper.close()


def test_servers_that_keep_no_streams_say_so_and_policies_why() -> None:
    with Client(make_app(serving.service(POLICY))) as client:
        assert "keeps none" in client.get("/v1/policy").json()["streams"]
        assert client.get("/v1/streams/one").status_code == 404
    labeller = serving.labeller()
    with Client(make_app(serving.service(labeller))) as client:
        assert "task 'label'" in client.get("/v1/policy").json()["streams"]


def series(first: int = 80, end: int = 100) -> bodies.Series:
    return bodies.Series(**history(first, end))


@pytest.mark.parametrize("observed", [0, 5, SNAPSHOT_STEPS + 3])
def test_what_was_answered_outlives_the_process(tmp_path: Path, observed: int) -> None:
    keeper = keeper_of(tmp_path / "s.sqlite")
    keeper.put("one", series())
    for at in range(100, 100 + observed):
        keeper.observe("one", Steps(**step(at)))
    # Nothing is closed or told to write: what a killed process leaves is what lies on the disk.
    keeper._store._db.close()
    back = keeper_of(tmp_path / "s.sqlite")
    assert back.facts("one").steps == 20 + observed
    found = back.forecast("one", Ahead(**ahead(100 + observed)))
    require_alike(found.forecasts[0].model_dump(), expected(80, 100 + observed))
    back.close()


def test_at_most_so_many_streams_are_kept_and_the_one_idle_longest_makes_room(tmp_path: Path) -> None:
    clock = Clock()
    keeper = keeper_of(tmp_path / "s.sqlite", clock, most=2)
    for name in ("a", "b"):
        clock.now += 1
        keeper.put(name, series())
    clock.now += 1
    keeper.forecast("a", Ahead(**ahead()))
    clock.now += 1
    keeper.put("c", series())
    assert keeper.facts("a").steps == keeper.facts("c").steps == 20
    with pytest.raises(UnknownStreamError, match="made room"):
        keeper.facts("b")
    keeper.close()


def test_idle_streams_are_forgotten_and_leave_nothing_on_the_disk(tmp_path: Path) -> None:
    clock = Clock()
    keeper = keeper_of(tmp_path / "s.sqlite", clock)
    mark = bodies.Series(**{**history(), "static": {}, "name": "a-name-that-is-looked-for"})
    keeper.put("one", mark)
    held = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"a-name-that-is-looked-for" in held
    clock.now += 8 * DAY
    with pytest.raises(UnknownStreamError):
        keeper.facts("one")
    assert b"a-name-that-is-looked-for" not in b"".join(file.read_bytes() for file in tmp_path.iterdir())
    keeper.close()


def test_states_beyond_the_memory_are_read_from_the_disk(tmp_path: Path) -> None:
    keeper = keeper_of(tmp_path / "s.sqlite", memory_bytes=1)
    for name in ("a", "b", "c"):
        keeper.put(name, series())
    for at in range(100, 104):
        for name in ("a", "b", "c"):
            keeper.observe(name, Steps(**step(at)))
    assert len(keeper._live) == 1
    require_alike(keeper.forecast("a", Ahead(**ahead(104))).forecasts[0].model_dump(), expected(80, 104, "a"))
    keeper.close()


def test_another_policy_reads_a_stream_from_its_newest_rows_or_says_why_not(tmp_path: Path) -> None:
    keeper = keeper_of(tmp_path / "s.sqlite")
    for name in ("held", "on disk", "later"):
        keeper.put(name, series(60))
        keeper.observe(name, Steps(**step(100)))
    keeper._let_go("on disk")
    config = made.make_config(model__quantiles=[0.1, 0.5, 0.9], seed=5)
    other = made.random_policy(config, serving.segments())
    keeper.use(files_of(other))
    for name in ("held", "on disk"):
        facts = keeper.facts(name)
        assert facts.policy == keeper.policy.version != POLICY.version
        assert facts.time == step(100)["times"][0]
    keeper.use(files_of(made.random_policy(made.make_config(), serving.segments(known=False))))
    keeper.close()
    back = keeper_of(tmp_path / "s.sqlite")
    for _ in range(2):
        with pytest.raises(UnknownStreamError, match=r"the policy was changed.*other columns"):
            back.facts("later")
    fewer = {name: values for name, values in history()["columns"].items() if name != "price"}
    back.put("later", bodies.Series(**{**history(), "columns": fewer}))
    assert back.facts("later").steps == 20
    back.close()


def test_a_state_that_was_altered_is_not_read(tmp_path: Path) -> None:
    keeper = keeper_of(tmp_path / "s.sqlite")
    keeper.put("one", series())
    keeper._let_go("one")
    keeper._store._db.execute("UPDATE streams SET snapshot = zeroblob(500)")
    with pytest.raises(UnknownStreamError, match="was altered"):
        keeper.facts("one")
    keeper.close()


def test_the_file_is_its_owners_alone_and_of_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lstm_ray.serving.streams.store.BUSY_SECONDS", 0.1)
    keeper = keeper_of(tmp_path / "new" / "s.sqlite")
    keeper.put("one", series())
    for file in (tmp_path / "new").iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    with pytest.raises(InputError, match="set deploy"):
        Store(tmp_path / "new" / "s.sqlite")
    with pytest.raises(InputError, match="set deploy"):
        Store(Path("/proc/none/s.sqlite"))
    keeper.close()
