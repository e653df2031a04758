"""A tape told step by step, over HTTP that is made up here."""

from __future__ import annotations

import json
from typing import Any

import httpx
import numpy as np
import polars as pl
import pytest

from lstm_ray.operate.replay import Asker, Errors, Replay, load_beside
from lstm_ray.operate.replay import tape as read
from lstm_ray.sections.data import DataConfig
from tests.operate.tapes import tape


class Server:
    """Forecasts 1.0 for every step, and keeps what it was told."""

    def __init__(self, status: int = 200, horizon: int = 2) -> None:
        self.status, self.horizon, self.told = status, horizon, []  # type: ignore[var-annotated]

    def __call__(self, request: httpx.Request) -> httpx.Response:
        body: dict[str, Any] = json.loads(request.content or b"{}")
        self.told.append((request.url.path, body))
        if request.url.path != "/v1/forecast":
            return httpx.Response(self.status, json={})
        forecasts = [{"targets": {"temp": {"median": [1.0] * self.horizon}}} for _ in body["series"]]
        return httpx.Response(self.status, json={"policy": "v1", "forecasts": forecasts})


def replayed(server: Server, now: int = 10) -> Replay:
    http = httpx.Client(transport=httpx.MockTransport(server), base_url="http://made.up")
    return Replay(tape(), Asker(http), history=4, now=now)


def test_an_hour_is_observed_first_and_what_follows_is_asked_for_with_the_newest_history() -> None:
    server = Server()
    replayed(server, now=4).step()
    (observed, truth), (asked, question) = server.told
    assert (observed, asked) == ("/v1/observations", "/v1/forecast")
    assert [one["times"] for one in truth["series"]] == [["2013-08-23T05:00:00Z"]] * 2
    assert truth["series"][1]["columns"] == {"temp": [None], "humid": [232.0], "wind": [233.0]}, "null where missing"
    assert question["series"][0]["times"][0] == "2013-08-23T02:00:00Z"
    assert question["series"][0]["times"][-1] == "2013-08-23T05:00:00Z", "and nothing later"
    assert question["series"][0]["columns"]["temp"] == [6.0, 9.0, 12.0, 15.0]


def test_every_forecast_is_held_against_what_came_and_counted_for_who_made_it() -> None:
    replay = replayed(Server(horizon=2))
    for _ in range(3):
        replay.step()
    actual_S = tape().values_STF[:, 12, 0]
    assert replay.errors.mean(12, 13) == pytest.approx(np.abs(actual_S - 1).mean())
    assert replay.errors.sums[12, "v1"][1] == 2, "one forecast, two series"
    assert replay.errors.sums[13, "v1"][1] == 4, "by then two forecasts had told it"
    assert replay.errors.mean(12, 13, "v2") is None
    assert replay.served == {11: "v1", 12: "v1", 13: "v1"}


def test_what_was_not_measured_counts_for_nobody() -> None:
    errors = Errors()
    errors.answered("a", 3, np.array([[[1.0], [2.0]]]))
    errors.measured(3, np.array([[np.nan], [5.0]]))
    assert errors.mean(3, 4) == 3.0


def test_a_failed_request_is_counted_by_what_failed_and_the_replay_goes_on() -> None:
    replay = replayed(Server(status=503))
    replay.step()
    replay.step()
    assert replay.asker.failed == {"503": 4}
    assert replay.asker.num_requests == 4
    assert not replay.served


def test_a_broken_connection_is_a_failed_request() -> None:
    def broken(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    asker = Asker(httpx.Client(transport=httpx.MockTransport(broken), base_url="http://made.up"))
    assert asker.ask("GET", "/v1/monitor") is None
    assert asker.failed == {"ConnectError": 1}


def test_the_client_beside_asks_until_the_block_ends_and_counts_a_server_that_is_not_there() -> None:
    with load_beside("http://127.0.0.1:9", "/v1/what-if", {}) as asker:
        while asker.num_requests < 2:
            pass
    asked = asker.num_requests
    assert asker.failed.total() == asked


def test_the_question_asked_beside_has_no_names_and_so_is_nothing_that_happened() -> None:
    replay = replayed(Server())
    assert [sorted(one) for one in replay.question()] == [["columns", "times"]] * 2


def test_a_stretch_of_the_tape_written_as_a_table_is_read_as_the_same_tape(tmp_path: Any) -> None:
    data = DataConfig(
        source=str(tmp_path / "a.parquet"),
        series_id=["origin"],
        time="hour",
        target=["temp"],
        past=["humid", "wind"],
        frequency="1h",
    )
    tape().table(0, 72, data).write_parquet(tmp_path / "a.parquet")
    again = read(data)
    assert (again.names, again.columns, again.num_targets) == (["EWR", "JFK"], ["temp", "humid", "wind"], 1)
    np.testing.assert_array_equal(again.tick_T, tape().tick_T)
    np.testing.assert_array_equal(again.values_STF, tape().values_STF)
    assert tape().table(3, 7, data).height == 8
    assert isinstance(tape().table(3, 7, data)["hour"].dtype, pl.Datetime)


def test_the_step_of_a_time_is_the_first_that_is_not_before_it() -> None:
    assert tape().step_at("2013-08-24") == 24
    assert tape().step_at("2013-08-24T00:30") == 25
