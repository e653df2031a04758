"""Of each series of a block what a prediction needs: its newest history and the future that is known. Knows no policy.

A series ends at its last step with a measured target; rows after it hold the known inputs of the horizon. Where rows are
missing, steps without values stand in for them. Shapes: R rows of the block, S series, and those of ``data.histories``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lstm_ray.config import Config
from lstm_ray.data.histories import Histories
from lstm_ray.data.lags import reach
from lstm_ray.data.quality.clean import lookback
from lstm_ray.data.quality.impute import Filling, fill_constant
from lstm_ray.data.schema import Scaler, Schema
from lstm_ray.data.timeline import order
from lstm_ray.data.timeline.grid import SERIES
from lstm_ray.data.windows import rows_of

MAX_BEFORE = 10_000
"""Steps before a history that are read for what they tell of it, at most."""
STEPS_AT_A_TIME = 400_000
"""Steps of some series that are worked on together, about."""
NEVER = np.iinfo(np.int64).min


@dataclass(frozen=True)
class Newest:
    """What the series of one block bring to a prediction.

    Args:
        frame: whole series, typed, sorted by series and time, each time once and on the policy's grid.
        config: the policy's, with its roles.
    """

    frame: pl.DataFrame
    config: Config
    schema: Schema
    scaler: Scaler

    @property
    def horizon(self) -> int:
        """Steps ahead, of which known inputs are read."""
        return self.config.window.horizon if self.config.task == "forecast" else 0

    @cached_property
    def names(self) -> list[str]:
        found: list[str] = self.frame[SERIES].gather(self._starts).to_list()
        return found

    @cached_property
    def reasons(self) -> dict[int, str]:
        """Series that cannot be predicted, by number, and why."""
        if self.config.task != "forecast":
            return {}
        history, found = self.config.window.history, {}
        for s in np.flatnonzero(self._lengths < history):
            length = self._lengths[s]
            found[int(s)] = f"{length} steps of history, and the policy needs {history}"
            if length == 0:
                found[int(s)] = "no target was ever measured"
        ahead = (self._lead > 0) & (self._lead <= self.horizon)
        for column in self.config.data.known:
            told = np.zeros(len(self.names), bool)
            told[self._of[ahead & self._there(column)]] = True
            for s in np.flatnonzero(~told):
                found.setdefault(
                    int(s),
                    f"known column '{column}' has no value over the horizon; add rows after the last measured target",
                )
        return found

    def histories(self, most: int) -> Iterator[Histories]:
        """Those that can be predicted, in order, at most so many at a time."""
        kept = np.setdiff1d(np.arange(len(self.names)), list(self.reasons))
        steps = np.cumsum(np.maximum(self._lengths, self._ends - self._starts)[kept] + self.horizon)
        first = 0
        while first < len(kept):
            before = steps[first - 1] if first else 0
            end = int(np.searchsorted(steps, before + STEPS_AT_A_TIME, side="right"))
            end = min(max(end, first + 1), first + most)
            yield self._laid_out(kept[first:end])
            first = end

    def _laid_out(self, kept_S: NDArray) -> Histories:
        """Series on the full grid: what was read in its place, and NaN elsewhere."""
        schema, horizon = self.schema, self.horizon
        row_R = rows_of(np.stack([self._starts[kept_S], self._ends[kept_S]], axis=1))
        of_R = np.repeat(np.arange(len(kept_S)), self._ends[kept_S] - self._starts[kept_S])
        lead_R, length_S = self._lead[row_R], self._lengths[kept_S]
        bounds = np.append(0, np.cumsum(length_S))
        past = np.flatnonzero((lead_R <= 0) & (lead_R > -length_S[of_R]))
        ahead = np.flatnonzero((lead_R > 0) & (lead_R <= horizon))
        at = bounds[of_R[past] + 1] - 1 + lead_R[past]
        columns = [*schema.target, *schema.past, *schema.known]
        given_RF = np.full((bounds[-1], len(columns)), np.nan)
        future_SHK = np.full((len(kept_S), horizon, len(schema.known)), np.nan)
        # A stretch of the table where all of it is wanted, which is no copy.
        whole = len(row_R) == row_R[-1] - row_R[0] + 1
        rows = self._filled[int(row_R[0]) : int(row_R[-1]) + 1] if whole else self._filled[row_R]
        first_known = len(columns) - len(schema.known)
        for f, name in enumerate(columns):
            value_R = rows[name].to_numpy()
            given_RF[at, f] = value_R[past]
            if f >= first_known:
                future_SHK[of_R[ahead], lead_R[ahead] - 1, f - first_known] = value_R[ahead]
        for k, name in enumerate(schema.known if horizon else []):
            if name in self.config.data.static:
                _constant(given_RF, future_SHK, bounds, first_known + k, k)
        words = {name: words.gather(kept_S).to_list() for name, words in self._words.items()}
        last_S = self._last[kept_S]
        return Histories([self.names[s] for s in kept_S], bounds, last_S, given_RF, future_SHK, words)

    @cached_property
    def _filled(self) -> pl.DataFrame:
        """The rows, static values repeated over those that lack them."""
        static = [c for c in self.config.data.static if self.horizon and self.frame[c].null_count()]
        return self.frame.with_columns(pl.col(c).forward_fill().backward_fill().over(SERIES) for c in static)

    @cached_property
    def _words(self) -> dict[str, pl.Series]:
        """Of each series its last word up to its last step, else its first after that."""
        found = {}
        for column in self.schema.categories:
            words = pl.DataFrame({"of": self._of, "lead": self._lead, "word": self.frame[column]}).drop_nulls()
            ends = words.group_by("of").agg(
                pl.col("word").filter(pl.col("lead") <= 0).last().alias("before"), pl.col("word").first()
            )
            told = pl.DataFrame({"of": np.arange(len(self.names))}).join(
                ends, on="of", how="left", maintain_order="left"
            )
            found[column] = told.select(pl.coalesce("before", "word").alias(column)).to_series()
        return found

    @cached_property
    def _starts(self) -> NDArray:
        return order.runs_of(self.frame).starts

    @cached_property
    def _ends(self) -> NDArray:
        return np.append(self._starts[1:], self.frame.height)

    @cached_property
    def _of(self) -> NDArray:
        return np.repeat(np.arange(len(self._starts)), self._ends - self._starts)

    @cached_property
    def _last(self) -> NDArray:
        """Tick of the last step; NEVER where no target was measured."""
        ticks, last_S = order.ticks_of(self.frame), np.full(len(self._starts), NEVER)
        if self.config.task != "forecast":
            return ticks[self._ends - 1]
        measured = np.zeros(len(ticks), bool)
        for column in self.schema.target:
            measured |= self._there(column)
        # Rows are in the order of time: the last one of each series is what stays.
        last_S[self._of[measured]] = ticks[measured]
        return last_S

    @cached_property
    def _lead(self) -> NDArray:
        """Steps from its series' last one to each row; of a series without one, as from its last row."""
        ticks = order.ticks_of(self.frame)
        last_S = np.where(self._last == NEVER, ticks[self._ends - 1], self._last)
        lead_R: NDArray = (ticks - last_S[self._of]) // self.schema.step
        return lead_R

    @cached_property
    def _lengths(self) -> NDArray:
        """Steps of each history that are read: 0 where there is no target."""
        first_S = self._lead[self._starts]
        if self.config.task == "label":
            return 1 - first_S
        return np.where(self._last == NEVER, 0, 1 - np.maximum(first_S, self._oldest()))

    def _oldest(self) -> NDArray:
        """The first step of each series, counted from its last, that a prediction needs, int64 [S]: what it reads and what
        tells outliers in that, as in training; and where something is missing in these, what fills it. Inputs may be missing
        for longer than targets are: what is read then begins at a value of each column."""
        prepare, window = self.config.preprocess, self.config.window
        filled = Filling.of(prepare, window).reach(prepare.max_gap_steps)
        if filled is None or prepare.impute == "seasonal":
            # All that came before, or any season of it.
            filled = MAX_BEFORE
        read = 1 - reach(window) - lookback(self.scaler)
        found_S, whole_S = np.full(len(self._starts), read - filled), np.ones(len(self._starts), bool)
        early = self._lead <= read
        for column in (*self.schema.target, *self.schema.past, *self.schema.known):
            there, told_S = self._there(column), np.zeros(len(self._starts), np.int64)
            told_S[self._of[early & there]] = self._lead[early & there] - filled
            found_S = np.minimum(found_S, told_S)
            last = self.horizon if column in self.schema.known else 0
            inside = there & (self._lead >= read) & (self._lead <= last)
            whole_S &= np.bincount(self._of[inside], minlength=len(whole_S)) == last + 1 - read
        return np.where(whole_S, read, np.clip(found_S, read - filled - MAX_BEFORE, read - filled))

    def _there(self, column: str) -> NDArray:
        """Which rows hold a value of a column."""
        return self._filled[column].is_not_null().to_numpy()


def _constant(given_RF: NDArray, future_SHK: NDArray, bounds: NDArray, f: int, k: int) -> None:
    """Repeat a static column's values over steps that lack it, in place."""
    horizon, numbers = future_SHK.shape[1], np.arange(len(bounds))
    wide = bounds + horizon * numbers
    behind = np.zeros(wide[-1], bool)
    behind[(wide[1:, None] - np.arange(1, horizon + 1)).ravel()] = True
    value_X = np.empty(wide[-1])
    value_X[~behind], value_X[behind] = given_RF[:, f], future_SHK[:, :, k].ravel()
    value_X = fill_constant(value_X, wide)
    given_RF[:, f], future_SHK[:, :, k] = value_X[~behind], value_X[behind].reshape(-1, horizon)
