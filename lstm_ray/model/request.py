"""A caller's series as a batch that a network reads: checked, filled and scaled as training was. Knows no weights."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from operator import index as whole
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lstm_ray.config import Config
from lstm_ray.data.lags import lagged_steps, reach
from lstm_ray.data.quality.clean import cleaned
from lstm_ray.data.quality.impute import Filling, fill, fill_constant
from lstm_ray.data.scaling.units import measured
from lstm_ray.data.schema import Own, Role, Scaler, Schema
from lstm_ray.data.windows import Batch
from lstm_ray.errors import InputError
from lstm_ray.sections.prepare import WindowConfig

ALIKE = "0000-00-00T00:00:00Z"
"""How most times are written: digits, and signs at their places."""
MAX_KEPT = 2_000
"""Times of a series that are kept as they were read."""
FAR, OUT_OF_REACH = 6.0, 1e9
"""Training deviations from the mean: those a caller is warned of, and those whose squares float32 could not add up."""


@dataclass(frozen=True)
class SeriesInput:
    """One series as a caller has it, in the data's own units and on the policy's regular grid.

    ``None`` and NaN are missing values. ``columns`` holds the history of every target, past, known and static column;
    ``future`` the known and static columns over the horizon; ``static`` the word in each categorical column.
    """

    times: Sequence[Any]
    """datetime64, ISO strings or integer steps, ascending, one step apart."""
    columns: Mapping[str, ArrayLike]
    future: Mapping[str, ArrayLike] = field(default_factory=dict)
    name: str = ""
    static: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Read:
    """What a policy makes of one series."""

    batch: Batch
    own: Own | None
    """The units that its targets are told in, where each series has its own."""
    times: NDArray
    """Of its horizon; of a whole series its own."""
    warnings: list[str]


@dataclass(frozen=True)
class Told:
    """What one series says, in the data's own units. T steps were sent, of which the newest L are read, and A lie ahead."""

    time_T: NDArray
    time_A: NDArray
    given_TF: NDArray
    """Targets, past and known inputs as they were sent, NaN where missing, float64."""
    out_TF: NDArray
    """Which of these are outliers, bool."""
    filled_TF: NDArray
    """Targets and past inputs, nothing missing, float32."""
    observed_LF: NDArray
    """Which values of targets, past and known inputs were measured, bool."""
    known_XK: NDArray
    """Known inputs of all steps sent and ahead, float32 [T + A, K]."""
    first: int
    """Step that begins the unbroken stretch which ends the history."""
    category_BS: NDArray
    own: Own | None
    warnings: list[str]


@dataclass(frozen=True)
class Reader:
    """Reads requests to one policy. L steps are read, of which H lie ahead; F columns: targets, past, known."""

    config: Config
    schema: Schema
    scaler: Scaler

    def read(self, item: SeriesInput, index: int, whole: bool = False) -> Read:
        """One series as a scaled batch of one window. A ``whole`` series is that batch without padding.

        Raises InputError that names the series, the column, the value found and the fix.
        """
        schema, window = self.schema, self.config.window
        where = f"series '{item.name or index}'"
        horizon = window.horizon if self.config.task == "forecast" else 0
        told = self.told(item, where, horizon, whole)
        kept = len(told.observed_LF)
        known_times = np.concatenate([told.time_T[-kept:], told.time_A])
        known_LK = told.known_XK[-kept - horizon :]
        patch = 1 if whole else window.patch
        batch, reach_F = self._scaled(told.filled_TF[-kept:], told.observed_LF, known_LK, known_times, patch, told.own)
        batch = replace(batch, category_BS=told.category_BS)
        if window.lags:
            lagged_BTJ = self._lagged(told.filled_TF[:, : len(schema.target)], told.first, told.own)
            batch = replace(batch, known_BTK=np.concatenate([batch.known_BTK, lagged_BTJ], axis=2))
        columns = [*schema.target, *schema.past, *schema.known]
        warnings = told.warnings + range_words(reach_F, columns, where)
        return Read(batch, told.own, told.time_T if whole else told.time_A, warnings)

    def told(self, item: SeriesInput, where: str, ahead: int, whole: bool = False) -> Told:
        """What one series says, checked, filled and cleaned as training was, in the data's own units.

        Args:
            where: begins what an error says.
            ahead: steps of which the known inputs must be sent; 0: none, also where the policy has known inputs.
        """
        schema, window = self.schema, self.config.window
        times = self._times(item.times, where)
        if ahead and len(times) < window.history:
            raise InputError(f"{where} has {len(times)} steps of history; send at least {window.history}")
        columns = [*schema.target, *schema.past, *schema.known]
        refuse_unknown(item.columns, columns, f"{where}, columns")
        refuse_unknown(item.future, schema.known, f"{where}, future")
        kept = len(times) if whole else min(len(times), window.history)
        given_TF = np.stack([floats(item.columns, c, len(times), where) for c in columns], axis=1)
        future_AK = np.empty((ahead, len(schema.known)))
        for k, name in enumerate(schema.known):
            future_AK[:, k] = floats(item.future, name, ahead, f"{where}, future") if ahead else 0
        later = schema.of_ticks(schema.ticks(times[-1:]) + schema.step * np.arange(1, ahead + 1))
        # What a caller sends from before the history fills gaps in it, as it did in training: from its own segment alone.
        first = self._first_step(~np.isnan(given_TF[:, : len(schema.target)]))
        begins = first if first <= len(times) - kept else 0
        filled_TF, known_XK, out_TF = self.filled(given_TF, future_AK, begins)
        measured_LF, out_LF = ~np.isnan(given_TF[-kept:]), out_TF[-kept:]
        masks = self.scaler.cleaning is not None and self.scaler.cleaning.action == "mask"
        observed_LF = measured_LF & ~out_LF if masks else measured_LF
        category_BS, unseen = codes(item.static, schema, where)
        warnings = (
            unseen
            + self.unknown_words(item.name)
            + missing_words(measured_LF, columns)
            + outlier_words(out_LF, columns, "masked" if masks else "clipped")
            + missing_words(~np.isnan(future_AK), schema.known, " ahead")
        )
        if window.lags:
            warnings += absent_words(len(times) - first, window)
        own = self._own(item.name, filled_TF[-kept:], observed_LF)
        return Told(times, later, given_TF, out_TF, filled_TF, observed_LF, known_XK, first, category_BS, own, warnings)

    def unknown_words(self, name: str) -> list[str]:
        """Where each series has its own units, those of one that training did not see are of what was sent."""
        if self.scaler.series is None or name in self.scaler.series.of:
            return []
        called = f"series '{name}' was not in the training part" if name else "the series has no name"
        return [f"{called}, so its values are read in the units of the history that was sent"]

    def _own(self, name: str, filled_LF: NDArray, observed_LF: NDArray) -> Own | None:
        """The units of the series' targets, where each series has its own."""
        if self.scaler.series is None:
            return None
        channels = len(self.schema.target)
        learned_LC = measured(filled_LF[:, :channels], observed_LF[:, :channels], self.scaler)
        return self.scaler.own([name], lambda b: learned_LC)

    def _scaled(
        self,
        filled_LF: NDArray,
        observed_LF: NDArray,
        known_TK: NDArray,
        times_T: NDArray,
        patch: int,
        own: Own | None,
    ) -> tuple[Batch, NDArray]:
        """A history and its known future as a batch of one window, and how many deviations each column reaches."""
        schema, length, horizon = self.schema, len(filled_LF), len(known_TK) - len(filled_LF)
        target_LC, past_LP = filled_LF[:, : len(schema.target)], filled_LF[:, len(schema.target) :]
        target_1LC = self.scaler.scale(target_LC[None], "target", own)
        reach_F = np.concatenate(
            [
                self.scaler.reach(target_1LC, "target", own)[0].max(0),
                self.scaler.reach(past_LP := self.scaler.scale(past_LP, "past"), "past").max(0),
                self.scaler.reach(known_TK := self.scaler.scale(known_TK, "known"), "known").max(0),
            ]
        )
        known_TK = np.concatenate([known_TK, schema.calendar_features(times_T)], axis=1)
        columns = [*schema.target, *schema.past, *schema.known]
        observed_LC = observed_LF[:, [columns.index(name) for name in schema.observed]].astype(np.float32)
        # A forecast has its horizon after the history; a sequence to classify ends in a whole patch.
        pad = horizon or -length % patch
        num_origins = 1 if horizon else (length + pad) // patch
        batch = Batch(
            target_BTC=_padded(target_1LC[0], pad),
            observed_BTC=_padded(observed_LC, pad),
            past_BTP=_padded(past_LP, pad),
            known_BTK=_padded(known_TK, pad - horizon),
            origin_BN=np.ones((1, num_origins), np.float32),
            label_B=np.zeros(1, np.int64),
            category_BS=np.zeros((1, 0), np.int64),
            label_BT=np.zeros((1, 0), np.float32),
            weight_BT=np.zeros((1, 0), np.float32),
        )
        return batch, reach_F

    def filled(self, given_TF: NDArray, future_HK: NDArray, first: int) -> tuple[NDArray, NDArray, NDArray]:
        """A whole history as training saw its own: targets and past inputs imputed and cleaned, float32 [T, C + P]; the known
        inputs of history and horizon imputed, [T + H, K]; and which measured values were outliers, bool [T, F].

        Args:
            first: step that begins the segment; what lies before it is another's.
        """
        schema, num_targets, bounds = self.schema, len(self.schema.target), np.unique([0, first, len(given_TF)])
        num_moving = num_targets + len(schema.past)
        filling = Filling.of(self.config.preprocess, self.config.window)
        moving_TF = fill(given_TF[:, :num_moving], bounds, filling).astype(np.float32)
        known_XK = np.concatenate([given_TF[:, num_moving:], future_HK])
        for k, name in enumerate(schema.known):
            if name in self.config.data.static:
                known_XK[:, k] = fill_constant(known_XK[:, k], np.array([0, len(known_XK)]))
            else:
                known_XK[:, k] = fill(known_XK[:, k], np.unique([0, first, len(known_XK)]), filling)
        out_TF = np.zeros(given_TF.shape, bool)
        roles: list[tuple[Role, slice]] = [("target", slice(num_targets)), ("past", slice(num_targets, num_moving))]
        for role, of in roles:
            tells = getattr(schema, role) == schema.observed
            observed = ~np.isnan(given_TF[:, of]) if tells else None
            moving_TF[:, of], out_TF[:, of] = cleaned(moving_TF[:, of], observed, bounds, self.scaler, role)
        return moving_TF, known_XK.astype(np.float32), out_TF & ~np.isnan(given_TF)

    def _first_step(self, measured_TC: NDArray) -> int:
        """Where training would have begun the segment that a history ends in: at a measured target, after the last long gap."""
        step_M = np.flatnonzero(measured_TC.any(1))
        long = np.flatnonzero(np.diff(step_M) > 1 + self.config.preprocess.max_gap_steps)
        if not len(step_M):
            return 0
        return int(step_M[long[-1] + 1] if len(long) else step_M[0])

    def _lagged(self, filled_TC: NDArray, first: int, own: Own | None) -> NDArray:
        """window.lags of a whole history, [1, L, J]: what was not sent, or lies before the ``first`` step, is absent."""
        window = self.config.window
        target_BXC = _padded(self.scaler.scale(filled_TC.astype(np.float32)[None], "target", own)[0], window.horizon)
        present_BX = (np.arange(target_BXC.shape[1]) >= first)[None]
        return lagged_steps(target_BXC, present_BX, window.lags, window.history + window.horizon)

    def ticks(self, given: Sequence[Any] | NDArray, where: str) -> NDArray:
        """Times as int64 ticks, in any order. Raises InputError where one is none."""
        try:
            if self.schema.has_dates:
                if isinstance(given, np.ndarray) and given.dtype.kind == "M":
                    if np.isnat(given).any():
                        raise ValueError("a time is missing")
                    return self.schema.ticks(given.astype("datetime64[us]"))
                own, times = self.schema.on_own_clock, _alike(given)
                if times is None:
                    times = np.asarray([_without_zone(time, own) for time in given], dtype="datetime64[us]")
            else:
                times = np.asarray([int(t) if isinstance(t, str) else whole(t) for t in given], dtype=np.int64)
        except (ValueError, TypeError, OverflowError) as error:
            raise InputError(f"{where}, times: {error}; send ISO 8601 in UTC, or integer steps") from None
        return self.schema.ticks(times)

    def _times(self, given: Sequence[Any], where: str) -> NDArray:
        tick_T = self.ticks(given, where)
        times = self.schema.of_ticks(tick_T)
        if len(times) == 0:
            raise InputError(f"{where} has no time stamps; send its history")
        gaps = np.diff(tick_T)
        if (gaps != self.schema.step).any():
            first = int(np.argmax(gaps != self.schema.step))
            raise InputError(
                f"{where}, times: '{times[first]}' is followed by '{times[first + 1]}', not by the next step of the grid; "
                "send every step in order, with null where a value is missing"
            )
        return times


def codes(given: Mapping[str, str], schema: Schema, where: str) -> tuple[NDArray, list[str]]:
    """A series' categorical values as codes, int64 [1, K], and a warning for each that training did not see."""
    refuse_unknown(given, list(schema.categories), f"{where}, static")
    codes, warnings = [], []
    for column, values in schema.categories.items():
        word = given.get(column)
        if word is None:
            raise InputError(
                f"{where}, static: column '{column}' is missing; send one of its values, such as {values[:3]}"
            )
        if not isinstance(word, str):
            raise InputError(f"{where}, static: column '{column}' holds {word!r}; send text")
        codes.append(values.index(word) + 1 if word in values else 0)
        if word not in values:
            warnings.append(f"'{column}' is '{word}', which training did not see; it is read as an unseen value")
    return np.asarray([codes], dtype=np.int64).reshape(1, -1), warnings


def _padded(values_TF: NDArray, steps: int) -> NDArray:
    """[T, F] -> [1, T + steps, F], zeros after the last step."""
    length, columns = values_TF.shape
    found_TF = np.zeros((1, length + steps, columns), values_TF.dtype)
    found_TF[0, :length] = values_TF
    return found_TF


def _alike(given: Sequence[Any] | NDArray) -> NDArray | None:
    """Times that are all written as ``2024-01-31T23:00:00Z``, as most are, in a third of the time. None where they are not."""
    try:
        # Signs between them: so much text with all signs at their places is cut in one way alone.
        text = ",".join(given)
    except TypeError:
        return None
    if text.count(",") != len(given) - 1:
        return None
    return _kept_times(text) if len(given) <= MAX_KEPT else _times_in(text)


def _times_in(text: str) -> NDArray | None:
    length, text = len(ALIKE) + 1, f"{text},"
    signs = all(text[at::length] == len(text) // length * sign for at, sign in enumerate(f"{ALIKE},") if sign != "0")
    if not (signs and len(text) % length == 0 and text.isascii() and "\0" not in text):
        return None
    return np.frombuffer(text.encode(), f"S{length}").astype(f"S{length - 2}").astype("datetime64[us]")


@lru_cache(maxsize=64)
def _kept_times(text: str) -> NDArray | None:
    """Series that end together, as most do that are asked about in one hour, have the same times."""
    return _times_in(text)


STRANGE = re.compile(r"[^0-9T:. +-]")
"""Nothing that a time is written with."""


def _without_zone(time: Any, as_written: bool) -> str:
    """ISO 8601 without a zone, for NumPy knows none. A time with an offset is moved to UTC, where a policy's times are; one
    without is UTC, also where the policy's calendar follows another clock (data.time_zone).

    Args:
        as_written: offsets are left out (``Schema.on_own_clock``).
    """
    text = str(time).removesuffix("Z")
    # NumPy takes other letters for the name of a zone, warns of it and reads on.
    if STRANGE.search(text) and text != "NaT":
        raise ValueError(f"'{text[:40]}' is no time")
    # Most name none, and an offset has a sign behind the date.
    if "+" not in text and "-" not in text[11:]:
        return text
    if offset := re.search(r":\d\d.*?([+-]\d\d(:?\d\d)?)$", text):
        if as_written:
            return text[: offset.start(1)]
        return datetime.fromisoformat(text).astimezone(UTC).replace(tzinfo=None).isoformat()
    raise ValueError(f"'{text[:40]}' has an offset that is none")


def floats(columns: Mapping[str, ArrayLike], name: str, length: int, where: str) -> NDArray:
    if name not in columns:
        raise InputError(f"{where}: column '{name}' is missing; send {length} values, null where unknown")
    try:
        values = np.asarray(columns[name], dtype=np.float64)
    except (ValueError, TypeError):
        raise InputError(f"{where}: column '{name}' holds something that is no number; send numbers or null") from None
    if values.shape != (length,):
        raise InputError(f"{where}: column '{name}' has shape {values.shape}; send {length} values, one a step")
    large = np.abs(values) > np.finfo(np.float32).max
    if large.any():
        found = "an infinite value" if np.isinf(values).any() else f"{values[large][0]:g}"
        raise InputError(f"{where}: column '{name}' holds {found}; send finite numbers or null")
    return values


def refuse_unknown(given: Mapping[str, Any], wanted: Sequence[str], where: str) -> None:
    if unknown := sorted(set(given) - set(wanted)):
        raise InputError(f"{where}: '{unknown[0]}' is no input of this policy; it reads {', '.join(wanted) or 'none'}")


def missing_words(observed_TF: NDArray, columns: Sequence[str], when: str = "") -> list[str]:
    missing = (~observed_TF).sum(0)
    return [
        f"{n} of {len(observed_TF)} values of '{c}'{when} were missing and filled"
        for c, n in zip(columns, missing, strict=True)
        if n
    ]


def absent_words(num_steps: int, window: WindowConfig) -> list[str]:
    if num_steps >= reach(window):
        return []
    return [
        f"{num_steps} unbroken steps were sent, and window.lags {window.lags} read up to {reach(window)}; what they lack "
        "counts as absent, as at the start of a series"
    ]


def outlier_words(out_LF: NDArray, columns: Sequence[str], done: str) -> list[str]:
    return [
        f"{n} of {len(out_LF)} values of '{c}' {'was an outlier' if n == 1 else 'were outliers'} and {done}"
        for c, n in zip(columns, out_LF.sum(0), strict=True)
        if n
    ]


def range_words(reach_F: NDArray, columns: Sequence[str], where: str) -> list[str]:
    words = []
    for column, deviation in zip(columns, reach_F, strict=True):
        reach = f"'{column}' reaches {deviation:.4g} training deviations from its mean"
        if deviation > OUT_OF_REACH:
            raise InputError(f"{where}: column {reach}, too far to compute with; send it in the training data's units")
        if deviation > FAR:
            words.append(f"{reach}; the policy has seen little like it")
    return words
