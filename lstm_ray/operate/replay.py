"""A table told to a server step by step, as time would: what was measured, then a question about what comes. Knows HTTP.

Knows nothing of what the server makes of it. Beside the server's own account, every forecast is held here against what came,
so that a figure of the live error owes nothing to the server.
Shapes: S series, T steps, F columns (targets first), C targets, H horizon.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np
import polars as pl
from numpy.typing import NDArray

from lstm_ray.data.timeline import grid
from lstm_ray.data.timeline.order import SERIES, TIME
from lstm_ray.sections.data import DataConfig

TIMEOUT_SECONDS = 60.0
PAUSE_SECONDS = 0.04
"""Between two questions of the load beside the replay."""


@dataclass(frozen=True)
class Tape:
    """Every series of a table on one regular grid, as it was measured."""

    names: list[str]
    columns: list[str]
    """Targets first, then past and known inputs."""
    num_targets: int
    tick_T: NDArray
    """int64, microseconds since 1970."""
    values_STF: NDArray
    """float64, NaN where nothing was measured."""

    def step_at(self, time: str) -> int:
        """The first step at or after an ISO time."""
        return int(np.searchsorted(self.tick_T, np.datetime64(time, "us").astype(np.int64)))

    def time(self, step: int) -> str:
        """ISO 8601, UTC."""
        return f"{np.datetime_as_string(self.tick_T[step].astype('datetime64[us]'), unit='s')}Z"

    def columns_of(self, series: int, first: int, end: int) -> dict[str, list[float | None]]:
        """A stretch as JSON holds it, null where missing."""
        values_FT = self.values_STF[series, first:end].T
        return {
            name: [None if np.isnan(value) else value for value in values_T.tolist()]
            for name, values_T in zip(self.columns, values_FT, strict=True)
        }

    def table(self, first: int, end: int, data: DataConfig) -> pl.DataFrame:
        """A stretch as a table that a config with these roles reads."""
        times = pl.Series(data.time, self.tick_T[first:end].astype("datetime64[us]"))
        parts = []
        for series, name in enumerate(self.names):
            keys = [pl.lit(word).alias(c) for c, word in zip(data.series_id, name.split(grid.SEPARATOR), strict=True)]
            values = pl.DataFrame(self.values_STF[series, first:end], schema=self.columns)
            parts.append(values.with_columns(times, *keys).fill_nan(None))
        return pl.concat(parts).select(*data.series_id, data.time, *self.columns)


def tape(data: DataConfig) -> Tape:
    """The source's series, each from the first step of any to the last. Raises InputError where it cannot be read."""
    frame = grid.load(data)
    frame = grid.on_grid(frame, grid.frequency(frame, data), data)
    columns = [*data.target, *data.past, *data.known]
    names = frame[SERIES].unique(maintain_order=True).to_list()
    tick_R = frame[TIME].to_physical().to_numpy()
    tick_T = np.unique(tick_R)
    values_STF = np.full((len(names), len(tick_T), len(columns)), np.nan)
    series_R = frame[SERIES].replace_strict(names, list(range(len(names)))).to_numpy()
    values_STF[series_R, np.searchsorted(tick_T, tick_R)] = frame.select(columns).to_numpy()
    return Tape(names, columns, len(data.target), tick_T, values_STF)


@dataclass
class Asker:
    """A client that counts what was not answered as it should have been, and goes on."""

    http: httpx.Client
    num_requests: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    """By status, or what broke the connection."""

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any] | None:
        """The answer's JSON; None where the request failed."""
        self.num_requests += 1
        try:
            response = self.http.request(method, path, json=body)
        except httpx.HTTPError as error:
            self.failed[type(error).__name__] += 1
            return None
        if response.status_code != 200:
            self.failed[str(response.status_code)] += 1
            return None
        found: dict[str, Any] = response.json()
        return found


@dataclass
class Errors:
    """Absolute errors of what was answered, by the step that was predicted and the policy that had answered."""

    sums: dict[tuple[int, str], tuple[float, int]] = field(default_factory=dict)
    """Sum and number."""
    _waiting: dict[int, list[tuple[str, NDArray]]] = field(default_factory=dict)

    def answered(self, version: str, first: int, median_HSC: NDArray) -> None:
        """Keep a forecast whose first step is this one."""
        for lead, median_SC in enumerate(median_HSC):
            self._waiting.setdefault(first + lead, []).append((version, median_SC))

    def measured(self, step: int, actual_SC: NDArray) -> None:
        """Hold all that predicted a step against what came."""
        for version, median_SC in self._waiting.pop(step, []):
            errors = np.abs(actual_SC - median_SC)
            total, number = self.sums.get((step, version), (0.0, 0))
            self.sums[step, version] = total + float(np.nansum(errors)), number + int(np.isfinite(errors).sum())

    def mean(self, first: int, end: int, version: str | None = None) -> float | None:
        """Of the steps from ``first`` up to ``end``, of all policies or one; None where nothing was predicted."""
        found = [s for (step, by), s in self.sums.items() if first <= step < end and version in (None, by)]
        number = sum(n for _, n in found)
        return sum(total for total, _ in found) / number if number else None


@dataclass
class Replay:
    """The tape's present step, told to a server."""

    tape: Tape
    asker: Asker
    history: int
    """Steps sent with a question."""
    now: int
    """The newest step that is known."""
    errors: Errors = field(default_factory=Errors)
    served: dict[int, str] = field(default_factory=dict)
    """Which policy answered the question asked at a step."""

    def step(self) -> None:
        """An hour goes by: what it measured is observed, and what follows is asked for."""
        self.now += 1
        tape, now = self.tape, self.now
        self.errors.measured(now, tape.values_STF[:, now, : tape.num_targets])
        self.asker.ask("POST", "/v1/observations", {"series": self._series(now)})
        answer = self.asker.ask("POST", "/v1/forecast", {"series": self._series(now - self.history + 1)})
        if answer is not None:
            self.served[now] = answer["policy"]
            targets = [forecast["targets"].values() for forecast in answer["forecasts"]]
            median_SCH = np.array([[target["median"] for target in one] for one in targets])
            self.errors.answered(answer["policy"], now + 1, median_SCH.transpose(2, 0, 1))

    def question(self) -> list[dict[str, Any]]:
        """The series of a question asked now, without names: nobody takes them for what is really seen."""
        return [{k: v for k, v in one.items() if k != "name"} for one in self._series(self.now - self.history + 1)]

    def _series(self, first: int) -> list[dict[str, Any]]:
        times = [self.tape.time(step) for step in range(first, self.now + 1)]
        return [
            {"name": name, "times": times, "columns": self.tape.columns_of(s, first, self.now + 1)}
            for s, name in enumerate(self.tape.names)
        ]


@contextmanager
def load_beside(url: str, path: str, body: Mapping[str, Any]) -> Iterator[Asker]:
    """A client of its own that asks the same again and again until the block ends; what it counts is yielded."""
    ended = threading.Event()
    with httpx.Client(base_url=url, timeout=TIMEOUT_SECONDS) as http:
        asker = Asker(http)

        def work() -> None:
            while not ended.is_set():
                asker.ask("POST", path, body)
                time.sleep(PAUSE_SECONDS)

        thread = threading.Thread(target=work, name="load beside the replay")
        thread.start()
        try:
            yield asker
        finally:
            ended.set()
            thread.join()
