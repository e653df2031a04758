"""Unusual values, told at a stated rate of false alarms: as they come in, and beside what was forecast. Knows no server.

Three measures, each conformal (``monitor.tails``): how far a value lies from what the values before it let expect (jump), how
many equal ones in a row it ends (repeats), and how far it lies from its forecast in widths of the interval (residual). They
share the rate, so that a usual value is told as an anomaly with at most the rate that is stated, whichever measure tells it.
Memory is bounded: of each series the newest season is kept, and the series seen longest ago make room.
Shapes: T steps, F columns, N scored values.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_ray.monitor.errors.performance import Scored
from lstm_ray.monitor.traffic import Rows
from lstm_ray.monitor.unusual import usual
from lstm_ray.monitor.unusual.tails import COMMON, Limit, Tail
from lstm_ray.monitor.watched import Watched

MAX_CELLS = 4_000_000
"""Values kept over all series."""
LATE_STEPS = 24
"""A column's values may come so much later than another's."""
MAX_STEPS = 4_096
"""Steps of one series looked at in one go; of more the newest."""
TOLD = 50
"""Newest anomalies kept to be told."""
RECENT = 5_000
"""Newest judged values that the share of anomalies is taken over, about."""
SLOT = 100
JUMP, REPEATS, RESIDUAL = "jump", "repeats", "residual"


@dataclass
class _Measure:
    """One measure of one column."""

    tails: list[Tail | None]
    """One, or one for each group of steps ahead."""
    limit: Limit
    follows: bool = True
    """Whether its limit follows when scores drift as a whole."""
    limits: NDArray = field(init=False)
    """Of each tail; NaN where it holds too few scores for the rate, or no usual score differs from 0."""
    common: NDArray = field(init=False)
    """Of each tail, the score that is followed when scores drift; infinite where it is not."""
    works: bool = field(init=False)
    """Whether there are scores enough for the rate."""
    found: int = 0

    def __post_init__(self) -> None:
        told = [tail.limit(self.limit.rate) if tail is not None else None for tail in self.tails]
        self.limits = np.array([limit or np.nan for limit in told])
        common = [tail.limit(COMMON) if self.follows and tail is not None else None for tail in self.tails]
        self.common = np.array([score or np.inf for score in common])
        self.works = any(limit is not None for limit in told)

    def over(self, score_N: NDArray, group_N: NDArray | int = 0) -> NDArray:
        """Which scores are unusual, [N] bool; those that no tail knows are not judged."""
        limit_N = np.broadcast_to(self.limits[group_N], score_N.shape)
        judged_N = np.isfinite(score_N) & np.isfinite(limit_N)
        found_N = np.zeros(len(score_N), bool)
        common_N = np.broadcast_to(self.common[group_N], score_N.shape)
        found_N[judged_N] = self.limit.over(
            score_N[judged_N] / limit_N[judged_N], score_N[judged_N] / common_N[judged_N]
        )
        return found_N


@dataclass
class _Memory:
    """The newest season of one series, on the grid."""

    end: int
    """Tick of the last step."""
    value_SF: NDArray
    """NaN where unknown or unusual: nothing is expected from an anomaly."""
    known_SF: NDArray
    run_F: NDArray
    """Equal values in a row that the last step ends."""


class Anomalies:
    """Judges a policy's rows and residuals."""

    def __init__(self, watched: Watched) -> None:
        self._watched = watched
        rate = watched.settings.anomalies
        values, told = watched.reference.get("values"), watched.reference.get("forecasts")
        self._lags = usual.lags(values["season"]) if values else (1, 1, 2)
        self._columns: dict[int, tuple[NDArray, _Measure, _Measure]] = {}
        for f, name in enumerate(watched.columns):
            own = values["columns"].get(name) if values else None
            if own is not None:
                share = rate / (3 if told and name in told["targets"] else 2)
                jump = _Measure([Tail.from_dict(own[JUMP])], Limit(share))
                repeats = _Measure([Tail.from_dict(own[REPEATS])], Limit(share), follows=False)
                self._columns[f] = (np.asarray(own["weights"]), jump, repeats)
        self._ends = np.array([last for _, last in told["leads"]]) if told else np.zeros(0)
        self._floors: dict[int, float] = {}
        self._residual: dict[int, _Measure] = {}
        for c, name in enumerate(watched.targets):
            if told and name in told["targets"]:
                own = told["targets"][name]
                tails = [Tail.from_dict(group["tail"]) for group in own["groups"]]
                self._residual[c] = _Measure(tails, Limit(rate / 3 if c in self._columns else rate))
                self._floors[c] = own["floor"]
        self._memory: OrderedDict[str, _Memory] = OrderedDict()
        self._num_cells = 0
        self.newest: deque[dict[str, Any]] = deque(maxlen=TOLD)
        self._recent: deque[list[int]] = deque(maxlen=RECENT // SLOT)

    def take(self, rows: Rows) -> int:
        """Judge what of these steps is new, and remember it; returns how many values are anomalies."""
        if not self._columns or self._watched.task == "classify" or not len(rows.tick_T):
            return 0
        memory = self._memory.pop(rows.name, None)
        self._num_cells -= memory.value_SF.size if memory else 0
        if memory is not None and self._leaps(rows, memory):
            memory = None
        first, value_TF, known_TF, new_TF = self._on_grid(rows, memory)
        if memory is not None and not new_TF.any():
            self._hold(rows.name, memory)
            return 0
        run_TF = self._runs(value_TF, first, memory)
        found = 0
        for f, (weights, jump, repeats) in self._columns.items():
            new_T = new_TF[:, f]
            if not new_T.any():
                continue
            score_T = _jumps(value_TF[:, f], weights, self._lags)
            over_T, stuck_T = np.zeros(len(new_T), bool), np.zeros(len(new_T), bool)
            over_T[new_T] = jump.over(score_T[new_T])
            # What follows from an anomaly is not another: it is the value that this one was expected from.
            over_T &= ~_lagged_any(over_T, self._lags)
            # A run is told where it grows too long, and not again with every step.
            longest = np.floor(repeats.limits[0] * repeats.limit.multiple) + 1
            run_T = run_TF[:, f]
            stuck_T[new_T] = repeats.over(np.where(run_T <= longest, run_T, 0.0)[new_T])
            for kind, measure, told_T, told_by_T in ((JUMP, jump, over_T, score_T), (REPEATS, repeats, stuck_T, run_T)):
                for t in np.flatnonzero(told_T):
                    tick = first + int(t) * self._watched.step
                    self._add(measure, 0, rows.name, f, kind, tick, float(value_TF[t, f]), float(told_by_T[t]))
            self._count(int(new_T.sum()), int((over_T | stuck_T).sum()))
            found += int((over_T | stuck_T).sum())
            value_TF[over_T, f] = np.nan
        self._remember(rows.name, first, value_TF, known_TF, run_TF[-1])
        return found

    def residuals(self, name: str, scored: Scored) -> int:
        """Judge how far what came lay from what was said of it last; returns how many values are anomalies."""
        if not self._residual:
            return 0
        last, total = scored.nearest(), 0
        for c, measure in self._residual.items():
            own = Scored(*(part[last.target_N == c] for part in vars(last).values()))
            if not len(own.tick_N):
                continue
            low_N, high_N = (own.lower_N, own.upper_N) if np.isfinite(own.lower_N).all() else (None, None)
            score_N = usual.scores(own.error_N, own.median_N, low_N, high_N, self._floors[c])
            group_N = np.searchsorted(self._ends, own.lead_N + 1)
            over_N = measure.over(score_N, group_N)
            for n in np.flatnonzero(over_N):
                value, said, tick = float(own.median_N[n] + own.error_N[n]), float(own.median_N[n]), int(own.tick_N[n])
                self._add(measure, int(group_N[n]), name, c, RESIDUAL, tick, value, float(score_N[n]), said)
            self._count(len(score_N), int(over_N.sum()))
            total += int(over_N.sum())
        return total

    def forget(self, name: str) -> None:
        """Drop whatever is kept of a series."""
        memory = self._memory.pop(name, None)
        self._num_cells -= memory.value_SF.size if memory else 0
        self.newest = deque((one for one in self.newest if one["series"] != name), maxlen=TOLD)

    def recent(self, part: int = 1) -> tuple[int, int]:
        """Of the newest judged values, or the newest so-manieth part of them: how many, and how many of them are anomalies."""
        newest = list(self._recent)[-max(1, len(self._recent) // part) :]
        return sum(judged for judged, _ in newest), sum(found for _, found in newest)

    def summary(self) -> dict[str, Any]:
        """As plain values for JSON."""
        measures = [(f, JUMP, jump) for f, (_, jump, _) in self._columns.items()]
        measures += [(f, REPEATS, repeats) for f, (_, _, repeats) in self._columns.items()]
        measures += [(c, RESIDUAL, measure) for c, measure in self._residual.items()]
        judged, found = self.recent()
        return {
            "rate": self._watched.settings.anomalies,
            "judged": sum(measure.limit.judged for _, _, measure in measures),
            "found": sum(measure.found for _, _, measure in measures),
            "recent_share": found / judged if judged else None,
            "recent_over": judged,
            "state": self._words(measures),
            "measures": [
                {
                    "column": self._watched.columns[f],
                    "measure": kind,
                    "judged": measure.limit.judged,
                    "found": measure.found,
                    "limit_multiple": round(measure.limit.multiple, 3),
                    "works": measure.works,
                }
                for f, kind, measure in measures
            ],
            "newest": list(reversed(self.newest)),
        }

    def _words(self, measures: list[tuple[int, str, _Measure]]) -> str:
        if not measures:
            return "the policy carries no picture of usual values to judge by; bundle it again with 'lstm-ray deploy'"
        lacking = [measure for _, _, measure in measures if not measure.works]
        if lacking:
            need = max(int(np.ceil(1 / measure.limit.rate)) for measure in lacking)
            return (
                f"{len(lacking)} of {len(measures)} measures judge nothing: a rate of {self._watched.settings.anomalies:g} "
                f"(monitor.anomalies) needs up to {need:,} usual values of a column, and training has fewer"
            )
        judged, found = self.recent()
        return f"{found} of the newest {judged:,} judged values are anomalies" if judged else "no value was judged yet"

    def _leaps(self, rows: Rows, memory: _Memory) -> bool:
        """Whether time leaps so far, either way, that nothing remembered is of use."""
        most, begin = MAX_STEPS * self._watched.step, memory.end - len(memory.value_SF) * self._watched.step
        return int(rows.tick_T.max()) > memory.end + most or int(rows.tick_T.max()) < begin - most

    def _on_grid(self, rows: Rows, memory: _Memory | None) -> tuple[int, NDArray, NDArray, NDArray]:
        """Tick of the first step, values from there on with those remembered, which are known, and which are new."""
        step, newest = self._watched.step, int(rows.tick_T.max())
        last = newest if memory is None else max(newest, memory.end)
        # What is older than what is remembered was judged, or comes too late to be.
        start = int(rows.tick_T.min()) if memory is None else memory.end - (len(memory.value_SF) - 1) * step
        first = start + max(0, (last - start) // step + 1 - MAX_STEPS) * step
        value_TF = np.full(((last - first) // step + 1, len(self._watched.columns)), np.nan)
        known_TF = np.zeros(value_TF.shape, bool)
        if memory is not None and (lost := (first - start) // step) < len(memory.value_SF):
            value_TF[: len(memory.value_SF) - lost] = memory.value_SF[lost:]
            known_TF[: len(memory.value_SF) - lost] = memory.known_SF[lost:]
        # From the end: what lies far before the first step is left out, and no difference is larger than an integer holds.
        on_T = rows.tick_T >= first
        ahead_T = np.where(on_T, rows.tick_T, last) - last + (last - first)
        on_T &= ahead_T % step == 0
        given_TF = np.full(value_TF.shape, np.nan)
        # In single precision, as the training part is kept: equal values stay equal.
        given_TF[ahead_T[on_T] // step, : rows.values_TF.shape[1]] = rows.values_TF[on_T].astype(np.float32)
        new_TF = np.isfinite(given_TF) & ~known_TF
        value_TF[new_TF] = given_TF[new_TF]
        return first, value_TF, known_TF | new_TF, new_TF

    def _runs(self, value_TF: NDArray, first: int, memory: _Memory | None) -> NDArray:
        """How many equal values in a row each one ends, [T, F], those before what is remembered too."""
        starts_T = np.zeros(len(value_TF), bool)
        run_TF = np.stack([usual.repeats_of(value_T, starts_T) for value_T in value_TF.T], axis=1)
        if memory is not None and (end := (memory.end - first) // self._watched.step) >= 0:
            lacking_F = np.maximum(0, memory.run_F - run_TF[end])
            goes_on_TF = run_TF[end:] == run_TF[end] + np.arange(len(run_TF) - end)[:, None]
            run_TF[end:] += goes_on_TF * lacking_F
        return run_TF

    def _remember(self, name: str, first: int, value_TF: NDArray, known_TF: NDArray, run_F: NDArray) -> None:
        size, end = self._lags[-1] + LATE_STEPS, first + (len(value_TF) - 1) * self._watched.step
        self._hold(name, _Memory(end, value_TF[-size:].astype(np.float32), known_TF[-size:].copy(), run_F.copy()))

    def _hold(self, name: str, memory: _Memory) -> None:
        """The series is now the one seen last; those seen longest ago make room."""
        self._memory[name] = memory
        self._num_cells += memory.value_SF.size
        while self._num_cells > MAX_CELLS and len(self._memory) > 1:
            _, oldest = self._memory.popitem(last=False)
            self._num_cells -= oldest.value_SF.size

    def _add(
        self,
        measure: _Measure,
        group: int,
        name: str,
        f: int,
        kind: str,
        tick: int,
        value: float,
        score: float,
        expected: float | None = None,
    ) -> None:
        tail = measure.tails[group]
        assert tail is not None, "scores that no tail knows are not judged"
        measure.found += 1
        one = {"series": name, "column": self._watched.columns[f], "measure": kind, "time": self._time(tick)}
        self.newest.append({**one, "value": value, "expected": expected, "p": tail.p(score)})

    def _time(self, tick: int) -> str | int:
        if not self._watched.is_time:
            return tick
        try:
            at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=tick)
        except OverflowError:
            return tick
        return at.isoformat().replace("+00:00", "Z")

    def _count(self, judged: int, found: int) -> None:
        if not judged:
            return
        if not self._recent or self._recent[-1][0] >= SLOT:
            self._recent.append([0, 0])
        self._recent[-1][0] += judged
        self._recent[-1][1] += found


def _jumps(value_T: NDArray, weights: NDArray, lags: tuple[int, int, int]) -> NDArray:
    """How far each value lies from what is expected, [T]; NaN where that is not known."""
    expected_T = np.full(len(value_T), weights[-1])
    for weight, lag in zip(weights[:-1], lags, strict=True):
        if weight:
            lagged_T = np.full(len(value_T), np.nan)
            lagged_T[lag:] = value_T[:-lag]
            expected_T += weight * lagged_T
    found: NDArray = np.abs(value_T - expected_T)
    return found


def _lagged_any(flag_T: NDArray, lags: tuple[int, int, int]) -> NDArray:
    found_T = np.zeros(len(flag_T), bool)
    for lag in lags:
        found_T[lag:] |= flag_T[:-lag]
    return found_T
