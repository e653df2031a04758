"""How right a served policy turns out to be, once the truth arrives. Knows predictions and truth; knows no server.

Answers wait for their truth, the oldest dropped first where there are too many; errors are kept over a rolling stretch.
Shapes: T steps, H horizon, C targets, N scored values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_ray.monitor.errors import chance
from lstm_ray.monitor.errors.chance import Lately
from lstm_ray.monitor.traffic import Answer, Rows
from lstm_ray.monitor.watched import Watched

MAX_WAITING_VALUES = 1_000_000
"""Predicted values that wait for their truth, over all series."""
MOST_LEADS = 10
"""The rolling stretch holds monitor.window values for each step ahead, up to so many steps."""
ENOUGH_SCORED = 24
MUCH_WORSE = 2.0
"""Rolling error over validation error from which it is told as much worse."""
ERROR, EXPECTED, INSIDE, TARGET, GROUP = range(5)
"""Columns of what is kept of a scored value; NaN where it cannot be told."""


@dataclass(frozen=True)
class Scored:
    """Predicted values that one series' truth was held against."""

    tick_N: NDArray
    target_N: NDArray
    lead_N: NDArray
    """Steps ahead, from 0."""
    error_N: NDArray
    """Actual less median."""
    median_N: NDArray
    lower_N: NDArray
    upper_N: NDArray
    """NaN where there is no interval."""

    def nearest(self) -> Scored:
        """Of every observed value the forecast made last, in the order of time."""
        order = np.lexsort((self.lead_N, self.target_N, self.tick_N))
        tick_N, target_N = self.tick_N[order], self.target_N[order]
        first_N = np.ones(len(order), bool)
        first_N[1:] = (tick_N[1:] != tick_N[:-1]) | (target_N[1:] != target_N[:-1])
        return Scored(*(values[order[first_N]] for values in vars(self).values()))


@dataclass
class _Waiting:
    answer: Answer
    open_HC: NDArray
    """Which values have not been scored."""


class Performance:
    """Holds answers against what came."""

    def __init__(self, watched: Watched) -> None:
        self._watched = watched
        self._baseline = Baseline(watched.reference.get("forecasts"), watched.targets)
        # Oldest first, by a running number; and the numbers of each series.
        self._waiting: dict[int, _Waiting] = {}
        self._numbers: dict[str, dict[int, None]] = {}
        self._next_number = self._num_waiting = 0
        size = watched.settings.window * max(1, min(watched.horizon, MOST_LEADS))
        self._ring = np.full((size, 5), np.nan)
        steps = -(-size // max(1, watched.horizon))
        self._lately = Lately(steps, len(watched.targets) or 1, has_time=watched.task != "classify")
        self._num_observed = self._num_scored = 0

    def remember(self, answer: Answer) -> None:
        """A prediction to be held against its truth."""
        open_HC = np.ones(answer.median_HC.shape, dtype=bool)
        self._waiting[self._next_number] = _Waiting(answer, open_HC)
        self._numbers.setdefault(answer.name, {})[self._next_number] = None
        self._next_number += 1
        self._num_waiting += open_HC.size
        while self._num_waiting > MAX_WAITING_VALUES:
            self._drop(next(iter(self._waiting)))

    def observe(self, rows: Rows) -> Scored | None:
        """Score every answer that predicted these times, each predicted value once; None where there was none."""
        actual_TC = rows.values_TF[:, : len(self._watched.targets) or 1]
        self._num_observed += int(np.isfinite(actual_TC).sum())
        if not len(rows.tick_T):
            return None
        found, newest = [], int(rows.tick_T.max())
        for number in list(self._numbers.get(rows.name, ())):
            waiting = self._waiting[number]
            if self._watched.task != "classify" and waiting.answer.first_tick > newest:
                continue
            if (scored := self._score(waiting, rows.tick_T, actual_TC)) is not None:
                found.append(scored)
            if not waiting.open_HC.any():
                self._drop(number)
        if not found:
            return None
        scored = Scored(*(np.concatenate(parts) for parts in zip(*(vars(s).values() for s in found), strict=True)))
        self._enter(scored)
        return scored

    def forget(self, name: str) -> None:
        """Drop whatever is kept of a series."""
        for number in list(self._numbers.get(name, ())):
            self._drop(number)

    def relative(self, scored: Scored) -> NDArray:
        """Absolute errors (of classes: 1 where wrong) over what validation lets expect of them, [N]; where that is not known,
        as they are."""
        classes, wrong_N = bool(self._watched.classes), self._wrong(scored.error_N)
        given = self._watched.validation.get(self._metric)
        usual = (1 - given if classes else given) if given is not None else 1.0
        expected_N = self._baseline.expected(self._baseline.group(scored.lead_N), scored.target_N)
        found: NDArray = wrong_N / np.where(expected_N > 0, expected_N, usual if usual > 0 else 1.0)
        return found

    def ratio(self, target: int | None = None) -> float | None:
        """The error of the newest steps of time over what the validation part lets expect of just these values, of all or one
        target."""
        return self._ratio(self._lately.sums(target), target)[0]

    def looks(self, target: int | None = None) -> list[tuple[float, float, int]]:
        """Of the newest steps of time, and of the newest parts of them: the ratio, its limit, and over how many values; none
        where too few steps were scored to tell.

        The limit is ``monitor.worse``, or more where chance alone brings that about too often.
        """
        spreads, own = self._baseline.spreads, slice(None) if target is None else slice(target, target + 1)
        readings = 1 + (len(spreads) if len(spreads) > 1 else 0)
        rate = self._watched.settings.false_alarms / readings
        found = []
        for sums_K4C, limit in chance.newest(self._lately.sums(target), spreads[own], rate):
            ratio, number = self._ratio(sums_K4C, target)
            if ratio is not None and limit is not None:
                found.append((ratio, max(self._watched.settings.worse, limit), number))
        return found

    def _ratio(self, sums_K4C: NDArray, target: int | None) -> tuple[float | None, int]:
        number = int(sums_K4C[:, chance.VALUES].sum())
        if not number:
            return None, 0
        now, then = (float(sums_K4C[:, at].sum()) for at in (chance.WRONG, chance.EXPECTED))
        if not np.isfinite(then):
            given = self._watched.validation.get(self._metric)
            # Accuracy is compared by its shortfall, so that above 1 always means worse.
            each = 0.0 if given is None or target is not None else 1 - given if self._watched.classes else given
            then = each * number
        return (now / then if then > 0 else None), number

    def summary(self) -> dict[str, Any]:
        """As plain values for JSON."""
        rows, classes = self._rows(), bool(self._watched.classes)
        rolling = float(rows[:, ERROR].mean()) if len(rows) else None
        ratio, looks = self.ratio(), self.looks()
        limit = looks[0][1] if looks else None
        worst = max(looks, key=lambda look: look[0] / look[1], default=(ratio, limit, 0))
        names = self._watched.targets if not classes else []
        targets = {name: rows[rows[:, TARGET] == c] for c, name in enumerate(names)}
        return {
            "metric": self._metric,
            "observations": self._num_observed,
            "scored": self._num_scored,
            "waiting": self._num_waiting,
            "rolling": 1 - rolling if rolling is not None and classes else rolling,
            "rolling_over": len(rows),
            "rolling_by_target": {name: float(own[:, ERROR].mean()) for name, own in targets.items() if len(own)},
            "validation": self._watched.validation.get(self._metric),
            "ratio": ratio,
            "limit": limit,
            "mase": self._mase(targets),
            "validation_mase": self._watched.validation.get("mase"),
            "coverage": _mean(rows[:, INSIDE]),
            "validation_coverage": self._watched.validation.get("coverage"),
            "nominal_coverage": self._watched.coverage,
            "by_target": [
                {"target": name, **_told(own), "ratio": self.ratio(c)}
                for c, (name, own) in enumerate(targets.items())
                if len(own)
            ],
            "by_lead": [
                {"first": first, "last": last, **_told(own), "expected": _mean(own[:, EXPECTED])}
                for g, (first, last) in enumerate(self._baseline.leads)
                if len(own := rows[rows[:, GROUP] == g])
            ],
            "state": _words(worst[0], len(rows), worst[1], self._watched.settings.worse),
        }

    @property
    def _metric(self) -> str:
        return "accuracy" if self._watched.classes else "mae"

    def _rows(self) -> NDArray:
        rows: NDArray = self._ring[: min(self._num_scored, len(self._ring))]
        return rows

    def _mase(self, targets: Mapping[str, NDArray]) -> float | None:
        """The mean over scored values of the error over its target's scale; None where one's is not known."""
        scales = [self._baseline.scale.get(name) for name, own in targets.items() if len(own)]
        if not scales or any(scale is None for scale in scales):
            return None
        parts = [own[:, ERROR] / self._baseline.scale[name] for name, own in targets.items() if len(own)]
        return float(np.concatenate(parts).mean())

    def _drop(self, number: int) -> None:
        waiting = self._waiting.pop(number)
        self._num_waiting -= waiting.open_HC.size
        of_series = self._numbers[waiting.answer.name]
        del of_series[number]
        if not of_series:
            del self._numbers[waiting.answer.name]

    def _score(self, waiting: _Waiting, tick_T: NDArray, actual_TC: NDArray) -> Scored | None:
        answer = waiting.answer
        if self._watched.task == "classify":
            lead_T, inside_T = np.zeros(1, np.int64), np.ones(1, bool)
        else:
            ahead_T = tick_T - answer.first_tick
            lead_T = ahead_T // self._watched.step
            inside_T = (ahead_T % self._watched.step == 0) & (lead_T >= 0) & (lead_T < len(answer.median_HC))
        lead_T, tick_T, actual_TC = lead_T[inside_T], tick_T[: len(inside_T)][inside_T], actual_TC[inside_T]
        at_N, target_N = np.nonzero(waiting.open_HC[lead_T] & np.isfinite(actual_TC))
        if not len(at_N):
            return None
        lead_N = lead_T[at_N]
        if len(lead_T) > 1:
            # The same step told twice in one body is scored once.
            _, once = np.unique(lead_N * answer.median_HC.shape[1] + target_N, return_index=True)
            at_N, target_N, lead_N = at_N[once], target_N[once], lead_N[once]
        median_N, lower_N, upper_N = (
            np.full(len(lead_N), np.nan) if part is None else part[lead_N, target_N].astype(np.float64)
            for part in (answer.median_HC, answer.lower_HC, answer.upper_HC)
        )
        actual_N = actual_TC[at_N, target_N].astype(np.float64)
        waiting.open_HC[lead_N, target_N] = False
        return Scored(tick_T[at_N], target_N, lead_N, actual_N - median_N, median_N, lower_N, upper_N)

    def _wrong(self, error_N: NDArray) -> NDArray:
        return (error_N != 0).astype(float) if self._watched.classes else np.abs(error_N)

    def _enter(self, scored: Scored) -> None:
        wrong, actual_N = self._wrong(scored.error_N), scored.median_N + scored.error_N
        rows = np.full((len(wrong), 5), np.nan)
        rows[:, ERROR], rows[:, TARGET] = wrong, scored.target_N
        known = np.isfinite(scored.lower_N)
        rows[known, INSIDE] = ((actual_N >= scored.lower_N) & (actual_N <= scored.upper_N))[known]
        rows[:, GROUP] = self._baseline.group(scored.lead_N)
        rows[:, EXPECTED] = self._baseline.expected(rows[:, GROUP], scored.target_N)
        self._lately.add(scored.tick_N, scored.target_N, wrong, rows[:, EXPECTED])
        newest = rows[-len(self._ring) :]
        self._ring[(self._num_scored + np.arange(len(rows)))[-len(newest) :] % len(self._ring)] = newest
        self._num_scored += len(rows)


class Baseline:
    """What the validation part lets expect.

    Args:
        given: ``usual.forecasts``, or None where the policy carries none.
    """

    def __init__(self, given: Mapping[str, Any] | None, targets: list[str]) -> None:
        told = given or {"leads": [], "targets": {}}
        self.leads: list[tuple[int, int]] = [(first, last) for first, last in told["leads"]]
        self.scale: dict[str, float | None] = {name: own["scale"] for name, own in told["targets"].items()}
        self.spreads: list[Mapping[str, float] | None] = [
            told["targets"].get(name, {}).get("spread") for name in targets or [""]
        ]
        self._mae_GC = np.full((len(self.leads) + 1, len(targets) or 1), np.nan)
        for c, name in enumerate(targets):
            for g, group in enumerate(told["targets"].get(name, {"groups": []})["groups"]):
                self._mae_GC[g, c] = np.nan if group["mae"] is None else group["mae"]

    def group(self, lead_N: NDArray) -> NDArray:
        """Of each step ahead, from 0, the index of its group."""
        ends = np.array([last for _, last in self.leads])
        found: NDArray = np.searchsorted(ends, lead_N + 1)
        return found

    def expected(self, group_N: NDArray, target_N: NDArray) -> NDArray:
        """Mean absolute error on the validation part, NaN where it is not known."""
        found: NDArray = self._mae_GC[np.minimum(group_N.astype(np.int64), len(self.leads)), target_N]
        return found


def _told(rows: NDArray) -> dict[str, Any]:
    return {"mae": _mean(rows[:, ERROR]), "coverage": _mean(rows[:, INSIDE]), "scored": len(rows)}


def _mean(values: NDArray) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None


def _words(ratio: float | None, number: int, limit: float | None, much: float) -> str:
    if not number:
        return "no truth has arrived yet"
    if number < ENOUGH_SCORED or ratio is None:
        return f"too few values scored to say ({number})"
    if limit is None:
        return f"too few steps of time scored to say ({number} values)"
    if ratio < much:
        return "as good as on the validation part"
    if ratio < limit:
        return f"no farther from that of the validation part than chance may bring it; from {limit:.3g} times on it is"
    return "worse than on the validation part" if ratio < MUCH_WORSE else "much worse than on the validation part"
