"""One running account of a served policy: load, latency, drift, anomalies, its error once the truth arrives, and alarms.

Replicas merge what they counted and ask for the summary; nothing here knows how they reach it. What is measured lives in the
modules beside this one; this one brings it together. Time is a clock that never goes back: whoever sets the machine's changes
no rate and no age. Memory is bounded, and what is done at a merge is bounded, too: alarms are looked at every second or so.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_ray.monitor.alarms import Alarms, Reading, surely_over
from lstm_ray.monitor.drift.drift import Drift, state
from lstm_ray.monitor.errors.changes import Changes
from lstm_ray.monitor.errors.performance import Performance
from lstm_ray.monitor.history import History
from lstm_ray.monitor.requests import Requests
from lstm_ray.monitor.traffic import Compared, Rows, Tally
from lstm_ray.monitor.unusual.anomalies import MAX_STEPS, Anomalies
from lstm_ray.monitor.watched import Watched

__all__ = ["Monitor", "Watched"]
LOOK_SECONDS, DRIFT_SECONDS = 1.0, 5.0
"""How often alarms are looked at while counts come in; those of drift take longer to tell."""
FALLBACK_SECONDS = 300.0
"""After an answer that was not finite its alarm stands for so long."""
ENOUGH_TO_ALARM = 100
"""Scored values without which no error raises an alarm."""
ANOMALY_PARTS = (1, 4, 16)
"""Of the newest judged values, the newest so-manieth part is looked at."""
UNUSUAL = 5.0
"""Times the stated rate of anomalies from which their share raises an alarm."""
SEVERE = ("stable", "moderate shift", "shifted")
"""States of columns, from bad to worse."""
MEASURED = {
    "psi": "PSI",
    "ks": "KS distance",
    "wasserstein_deviations": "Wasserstein distance",
    "missing_share": "a missing share of",
}
CLASS = "class"
"""What sequences that are classified whole have for a target."""
MOST_VALUE = 1e30
"""Larger ones count as this."""
MAX_SERIES = 200_000
"""Of which it is known how far they have come."""


class Monitor:
    """Merges tallies of any number of replicas.

    Args:
        clock: seconds that never go back.
    """

    def __init__(self, watched: Watched, clock: Callable[[], float] = time.monotonic) -> None:
        self._watched, self._clock = watched, clock
        self._requests = Requests(watched.settings, clock)
        self._drift = Drift(watched.reference, watched.columns, watched.targets, _step(watched))
        self._anomalies = Anomalies(watched)
        self._performance = Performance(watched)
        self._changes = Changes(watched.targets or [CLASS], watched.settings.window, watched.settings.false_alarms)
        self._alarms, self._history = Alarms(clock), History()
        self._compared = Compared()
        self._num_series = self._warned_series = self._fallbacks = self._num_rows = 0
        self._newest: OrderedDict[str, int] = OrderedDict()
        self._looked = self._drift_looked = self._fell_back = -np.inf
        self._drift_readings: list[Reading] = []

    def merge(self, tally: Tally) -> None:
        """Take in what a replica counted since it last did so."""
        self._requests.add(tally)
        self._num_series += tally.num_series
        self._warned_series += tally.warned_series
        if tally.fallbacks:
            self._fallbacks += tally.fallbacks
            self._fell_back = self._clock()
        self._compared.add(tally.compared)
        self._drift.fold(tally.inputs)
        answers = [replace(answer, median_HC=_bounded(answer.median_HC)) for answer in tally.answers]
        self._drift.answered(answers)
        for answer in answers:
            self._performance.remember(answer)
        for rows in tally.rows:
            rows = replace(rows, values_TF=_bounded(rows.values_TF))
            self._anomalies.take(rows)
            if (new := self._new(rows)) is not None:
                self._num_rows += len(new.tick_T)
                self._drift.take(new)
        self._look(LOOK_SECONDS, DRIFT_SECONDS)

    def observe(self, rows: Rows) -> int:
        """Score every answer that predicted these times; each predicted value is scored once.

        Args:
            rows: the truth in its first columns; for classes their index, [1, 1], and then times do not matter, or [T, 1].

        Returns:
            How many values were scored.
        """
        rows = replace(rows, values_TF=_bounded(rows.values_TF))
        scored = self._performance.observe(rows)
        if scored is not None:
            self._changes.take(scored.tick_N, scored.target_N, self._performance.relative(scored))
        self._anomalies.take(rows)
        if scored is not None and not self._watched.classes:
            self._anomalies.residuals(rows.name, scored)
        self._look(LOOK_SECONDS, DRIFT_SECONDS)
        return len(scored.tick_N) if scored is not None else 0

    def alarms(self) -> list[dict[str, Any]]:
        """Those that stand, as plain values."""
        self._look(0.0, 0.0)
        return self._alarms.rows()

    def compared(self) -> dict[str, Any]:
        """How its answers to copies of the champion's requests lay beside the champion's."""
        return self._compared.summary()

    def forget(self, name: str) -> None:
        """Drop whatever is kept under a series' name."""
        self._performance.forget(name)
        self._anomalies.forget(name)
        self._newest.pop(name, None)

    def summary(self) -> dict[str, Any]:
        """Everything, as plain values for JSON."""
        rows = self._drift.rows()
        return {
            "policy": self._watched.version,
            "seconds": round(self._clock() - self._requests.started, 1),
            "alarms": self.alarms(),
            **self._requests.summary(),
            "load": self._requests.load(),
            "fallbacks": self._fallbacks,
            "inputs": {
                "series": self._num_series,
                "series_with_warnings": self._warned_series,
                "rows": self._num_rows,
                "state": _worst(rows) if rows else self._drift.words(),
                "lacks": self._drift.words(),
                "columns": rows,
            },
            "predictions": self._drift.predictions(),
            "changes": self._changes.rows(),
            "changes_lack": self._changes.words(),
            "anomalies": self._anomalies.summary(),
            "performance": self._performance.summary(),
            "history": self._history.points(),
        }

    def _new(self, rows: Rows) -> Rows | None:
        """What is newer than all that has come of this series, from whichever replica; None where nothing is."""
        before = self._newest.pop(rows.name, None)
        # A clock that once ran ahead makes nothing old for good.
        if before is not None and rows.tick_T.max(initial=before) < before - MAX_STEPS * self._watched.step:
            before = None
        later_T = rows.tick_T > before if before is not None else np.ones(len(rows.tick_T), bool)
        newest = int(rows.tick_T.max()) if later_T.any() else before
        if newest is not None:
            self._newest[rows.name] = newest
        if len(self._newest) > MAX_SERIES:
            self._newest.popitem(last=False)
        return Rows(rows.name, rows.tick_T[later_T], rows.values_TF[later_T]) if later_T.any() else None

    def _look(self, every: float, drift_every: float) -> None:
        """See what is wrong, unless that was done a moment ago."""
        now = self._clock()
        if now - self._looked < every:
            return
        self._looked = now
        if now - self._drift_looked >= drift_every:
            self._drift_looked = now
            found = [*self._drift.alarms(), *self._changes.alarms()]
            self._drift_readings = [
                Reading(one["kind"], one["what"], one["value"], one["limit"], one["text"], over=True) for one in found
            ]
        own = [*self._requests.readings(), *self._error_readings(), *self._other_readings()]
        self._alarms.take([*self._drift_readings, *own])
        if self._history.due(now - self._requests.started):
            self._history.add(now - self._requests.started, self._point())

    def _error_readings(self) -> list[Reading]:
        names = self._watched.targets
        found, wanted = [], [(None, "")] + [(c, name) for c, name in enumerate(names) if len(names) > 1]
        for target, name in wanted:
            looks = [look for look in self._performance.looks(target) if look[2] >= ENOUGH_TO_ALARM]
            if not looks:
                continue
            ratio, limit, number = max(looks, key=lambda look: look[0] / look[1])
            whose = f"of '{name}' " if name else ""
            text = f"the error {whose}over the newest {number:,} scored values is {ratio:.2f} times validation's; "
            text += f"the limit is {limit:.3g}"
            found.append(Reading("performance", name, ratio, limit, text))
        return found

    def _other_readings(self) -> list[Reading]:
        rate, readings = self._watched.settings.anomalies, []
        # Many at once are seen in the newest few values; a few too many all the time, in many.
        looks = [look for part in ANOMALY_PARTS if (look := self._anomalies.recent(part))[0]]
        limit = min(1.0, UNUSUAL * rate)
        over = [
            (judged, found) for judged, found in looks if found / judged >= limit and surely_over(found, judged, rate)
        ]
        if looks:
            judged, found = (over or looks)[0]
            share = found / judged
            text = (
                f"{found} of the newest {judged:,} values are anomalies, {share:.2%}; of usual ones {rate:.2%} would be"
            )
            readings.append(Reading("anomalies", "", share, limit, text, over=bool(over)))
        if self._clock() - self._fell_back < FALLBACK_SECONDS:
            text = f"{self._fallbacks} answers so far were not finite, and a fallback was told in their place"
            readings.append(Reading("fallbacks", "", self._fallbacks, 1, text))
        return readings

    def _point(self) -> dict[str, float | int | None]:
        performance = self._performance.summary()
        over = [row["over_limit"] for row in self._drift.rows() if row.get("over_limit") is not None]
        judged, found = self._anomalies.recent()
        return {
            "requests_per_second": self._requests.rate(),
            "p99_ms": self._requests.recent_p99(),
            "error": performance["rolling"],
            "ratio": performance["ratio"],
            "coverage": performance["coverage"],
            "drift_over_limit": max(over, default=None),
            "anomalies_share": found / judged if judged else None,
            "alarms": len(self._alarms.rows()),
        }


def _bounded(values: NDArray) -> NDArray:
    """Values whose sums and distances are finite: one that is out of all bounds must not silence the account of all others."""
    found: NDArray = np.clip(values, -MOST_VALUE, MOST_VALUE)
    return found


def _step(watched: Watched) -> int:
    return 0 if watched.task == "classify" else watched.step


def _worst(rows: list[dict[str, Any]]) -> str:
    """The state of the most shifted column by whichever measure lies highest over its limit, and how many share it."""
    judged = [row for row in rows if row["state"] != state(None)]
    if not judged:
        return state(None)
    columns = [row for row in judged if row["kind"] != "joint"]
    worst = max(judged, key=lambda row: SEVERE.index(row["state"]))
    if worst["state"] == SEVERE[0]:
        return f"stable: all {len(columns)} columns look like the training part"
    number = sum(row["state"] == worst["state"] for row in columns)
    measure = worst["measure"]
    value, limit = worst[measure], (worst["limits"] or {}).get(measure)
    which = f"{number} of {len(columns)} columns, most '{worst['column']}'" if number else "how columns go together"
    most = f"{which} with {MEASURED[measure]} {value:.2f}"
    return f"{worst['state']}: {most}" + (f"; its limit is {limit:.2f}" if limit else "")
