"""Many series read at once as ``request.Reader`` reads each of them: the same numbers and words, without a loop over series.

Only what is wrong with a series is told by the Reader itself. NumPy alone; knows no weights.
Shapes: S series, R steps of all of them, L history, H horizon, T = L + H, X steps of a series and its horizon, F columns
(targets, past, known), C targets, P past, K known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lstm_ray.data.histories import Histories
from lstm_ray.data.lags import lagged_steps, reach
from lstm_ray.data.quality.clean import cleaned
from lstm_ray.data.quality.impute import Filling, fill, fill_constant
from lstm_ray.data.scaling.units import measured
from lstm_ray.data.schema import Own, Role, Schema
from lstm_ray.data.windows import Batch
from lstm_ray.errors import InputError
from lstm_ray.model import request
from lstm_ray.model.request import Reader, SeriesInput


@dataclass(frozen=True)
class Together:
    """What a policy makes of some series."""

    histories: Histories
    """Those that it can read."""
    batch: Batch
    own: Own | None
    """The units that their targets are told in, where each series has its own."""
    warnings: list[list[str]]
    refused: dict[str, str]
    """The others, by name, and what is wrong with them."""


def read_together(reader: Reader, histories: Histories) -> Together:
    """Series to forecast as one scaled batch, each a window that ends at its last step. Every one is as long as a history."""
    wrong_S, coded = _unreadable(histories, reader.schema)
    refused, histories = _sorted_out(reader, histories, wrong_S)
    read = _Read(reader, histories)
    far_S: NDArray = np.any(read.reach_SF > request.OUT_OF_REACH, axis=1)
    warnings = _words(reader, read, coded, far_S)
    batch, own, kept = read.batch(_category_codes(histories, coded, reader.schema)), read.own, np.flatnonzero(~far_S)
    if len(kept) < len(far_S):
        more, histories = _sorted_out(reader, histories, far_S)
        refused |= more
        batch = Batch(**{name: values[kept] for name, values in vars(batch).items()})
        own = None if own is None else own.take(kept)
        warnings = [warnings[s] for s in kept]
    return Together(histories, batch, own, warnings, refused)


def input_of(histories: Histories, s: int, schema: Schema) -> SeriesInput:
    """One of the series, as a caller would send it."""
    given_TF = histories.given_RF[histories.bounds[s] : histories.bounds[s + 1]]
    times = schema.of_ticks(histories.last_S[s] + schema.step * np.arange(1 - len(given_TF), 1))
    columns = dict(zip([*schema.target, *schema.past, *schema.known], given_TF.T, strict=True))
    future = dict(zip(schema.known, histories.future_SHK[s].T, strict=True)) if histories.future_SHK.shape[1] else {}
    static = {column: word for column, words in histories.words.items() if (word := words[s]) is not None}
    return SeriesInput(times, columns, future, histories.names[s], static)  # type: ignore[arg-type]


Coded = Mapping[tuple[str | None, ...], tuple[NDArray, list[str]]]
"""By the words of a series in each categorical column, their codes [1, columns] and what is said of them."""


def _unreadable(histories: Histories, schema: Schema) -> tuple[NDArray, Coded]:
    """Which series hold something that no policy computes with, bool [S]; and the codes of all words that it reads."""
    large_R = (np.abs(histories.given_RF) > np.finfo(np.float32).max).any(1)
    wrong_S = np.logical_or.reduceat(large_R, histories.bounds[:-1]) if len(histories.names) else large_R
    wrong_S = wrong_S | (np.abs(histories.future_SHK) > np.finfo(np.float32).max).any((1, 2))
    coded: dict[tuple[str | None, ...], tuple[NDArray, list[str]] | None] = {}
    for s, words in enumerate(_told(histories)):
        if words not in coded:
            given = {name: word for name, word in zip(histories.words, words, strict=True) if word is not None}
            coded[words] = None
            with suppress(InputError):
                coded[words] = request.codes(given, schema, "")
        wrong_S[s] |= coded[words] is None
    return wrong_S, {words: code for words, code in coded.items() if code is not None}


def _sorted_out(reader: Reader, histories: Histories, wrong_S: NDArray) -> tuple[dict[str, str], Histories]:
    """What the Reader has against some series, and the others."""
    refused = {}
    for s in map(int, np.flatnonzero(wrong_S)):
        try:
            reader.read(input_of(histories, s, reader.schema), s)
        except InputError as error:
            refused[histories.names[s]] = str(error)
        else:
            raise AssertionError(f"series '{histories.names[s]}' is refused among others, and not alone")
    return refused, histories.take(np.flatnonzero(~wrong_S)) if wrong_S.any() else histories


class _Read:
    """All series, checked: filled, cleaned, and told in a network's units."""

    def __init__(self, reader: Reader, histories: Histories) -> None:
        self.reader, self.histories = reader, histories
        self.config, self.schema, self.scaler = reader.config, reader.schema, reader.scaler
        window, bounds, length_S = self.config.window, histories.bounds, histories.lengths
        self.channels, self.moving = len(self.schema.target), len(self.schema.target) + len(self.schema.past)
        self.row_SL = (bounds[1:] - window.history)[:, None] + np.arange(window.history)
        self.first_S = self._first_steps()
        self.begin_S = np.where(self.first_S <= length_S - window.history, self.first_S, 0)
        self.filling = Filling.of(self.config.preprocess, window)
        self._fill()
        known_STK = self._known()
        target_SLC = self.moving_RF[:, : self.channels][self.row_SL]
        learned_SLC = measured(target_SLC, self.observed_SLF[..., : self.channels], self.scaler)
        self.own = self.scaler.own(histories.names, lambda s: learned_SLC[s])
        self.target_SLC = self.scaler.scale(target_SLC, "target", self.own)
        self.past_SLP = self.scaler.scale(self.moving_RF[:, self.channels :][self.row_SL], "past")
        self.known_STK = self.scaler.scale(known_STK, "known")
        reached = (
            self.scaler.reach(self.target_SLC, "target", self.own),
            self.scaler.reach(self.past_SLP, "past"),
            self.scaler.reach(self.known_STK, "known"),
        )
        self.reach_SF = np.concatenate([of.max(1) for of in reached], axis=1)

    def _first_steps(self) -> NDArray:
        """``Reader._first_step`` of each series, int64 [S]."""
        bounds, histories = self.histories.bounds, self.histories
        step_M = np.flatnonzero(~np.isnan(histories.given_RF[:, : self.channels]).all(1))
        of_M = np.repeat(np.arange(len(histories.names)), histories.lengths)[step_M]
        begins = np.diff(of_M, prepend=-1) > 0
        begins |= np.diff(step_M, prepend=step_M[:1]) > 1 + self.config.preprocess.max_gap_steps
        first_S = np.zeros(len(histories.names), np.int64)
        # Of several in a series the last one stays.
        first_S[of_M[begins]] = step_M[begins] - bounds[of_M[begins]]
        return first_S

    def _fill(self) -> None:
        given_RF, bounds = self.histories.given_RF, self.histories.bounds
        stretches = np.union1d(bounds, bounds[:-1] + self.begin_S)
        self.moving_RF = fill(given_RF[:, : self.moving], stretches, self.filling).astype(np.float32)
        out_RF = np.zeros(given_RF.shape, bool)
        roles: list[tuple[Role, slice]] = [
            ("target", slice(self.channels)),
            ("past", slice(self.channels, self.moving)),
        ]
        for role, of in roles:
            observed = ~np.isnan(given_RF[:, of]) if getattr(self.schema, role) == self.schema.observed else None
            self.moving_RF[:, of], out_RF[:, of] = cleaned(
                self.moving_RF[:, of], observed, stretches, self.scaler, role
            )
        self.measured_SLF = ~np.isnan(given_RF[self.row_SL])
        self.out_SLF = out_RF[self.row_SL] & self.measured_SLF
        masks = self.scaler.cleaning is not None and self.scaler.cleaning.action == "mask"
        self.observed_SLF = self.measured_SLF & ~self.out_SLF if masks else self.measured_SLF
        self.done = "masked" if masks else "clipped"

    def _known(self) -> NDArray:
        """Known and static columns of histories and horizons, imputed, float32 [S, T, K]."""
        histories, window = self.histories, self.config.window
        wide = histories.bounds + window.horizon * np.arange(len(histories.bounds))
        row_ST = (wide[1:] - window.history - window.horizon)[:, None] + np.arange(window.history + window.horizon)
        known_STK = np.empty((*row_ST.shape, len(self.schema.known)), np.float32)
        value_X, ahead = np.empty(wide[-1]), np.zeros(wide[-1], bool)
        ahead[row_ST[:, window.history :].ravel()] = True
        stretches = np.union1d(wide, wide[:-1] + self.begin_S)
        for k, name in enumerate(self.schema.known):
            value_X[ahead] = histories.future_SHK[:, :, k].ravel()
            value_X[~ahead] = histories.given_RF[:, self.moving + k]
            constant = name in self.config.data.static
            filled_X = fill_constant(value_X, wide) if constant else fill(value_X, stretches, self.filling)
            known_STK[:, :, k] = filled_X[row_ST]
        return known_STK

    def batch(self, category_SK: NDArray) -> Batch:
        schema, window, num = self.schema, self.config.window, len(self.histories.names)
        columns = [*schema.target, *schema.past, *schema.known]
        observed_SLC = self.observed_SLF[..., [columns.index(name) for name in schema.observed]].astype(np.float32)
        known_STK = np.concatenate([self.known_STK, self._calendar(), self._lagged()], axis=2)
        return Batch(
            target_BTC=_padded(self.target_SLC, window.horizon),
            observed_BTC=_padded(observed_SLC, window.horizon),
            past_BTP=_padded(self.past_SLP, window.horizon),
            known_BTK=known_STK,
            origin_BN=np.ones((num, 1), np.float32),
            label_B=np.zeros(num, np.int64),
            category_BS=category_SK,
            label_BT=np.zeros((num, 0), np.float32),
            weight_BT=np.zeros((num, 0), np.float32),
        )

    def _calendar(self) -> NDArray:
        """Computed once for all series that end at the same time."""
        window = self.config.window
        last_U, of_S = np.unique(self.histories.last_S, return_inverse=True)
        tick_UT = last_U[:, None] + self.schema.step * np.arange(1 - window.history, window.horizon + 1)
        features = self.schema.calendar_features(self.schema.of_ticks(tick_UT.ravel()))
        found: NDArray = features.reshape(*tick_UT.shape, features.shape[1])[of_S]
        return found

    def _lagged(self) -> NDArray:
        """window.lags: what was not sent, or lies before the first step, is absent."""
        window, bounds = self.config.window, self.histories.bounds
        steps = reach(window)
        back_X = np.arange(-steps, 0) if window.lags else np.arange(0)
        present_SX = self.histories.lengths[:, None] + back_X >= self.first_S[:, None]
        row_SX = np.maximum(bounds[1:, None] + back_X, bounds[:-1, None])
        target_SXC = self.scaler.scale(self.moving_RF[:, : self.channels][row_SX], "target", self.own)
        ahead = ((0, 0), (0, window.horizon))
        present_SX = np.pad(present_SX, ahead, constant_values=True)
        return lagged_steps(
            _padded(target_SXC, window.horizon), present_SX, window.lags, window.history + window.horizon
        )


def _words(reader: Reader, read: _Read, coded: Coded, refused_S: NDArray) -> list[list[str]]:
    """What the Reader would warn of, of each series that is not refused."""
    schema, window, histories = reader.schema, reader.config.window, read.histories
    columns = [*schema.target, *schema.past, *schema.known]
    steps_S = histories.lengths - read.first_S
    ahead_SHK = ~np.isnan(histories.future_SHK)
    missing_S, out_S = ~read.measured_SLF.all((1, 2)), read.out_SLF.any((1, 2))
    missing_ahead_S = ~ahead_SHK.all((1, 2))
    words: list[Callable[[int], list[str]]] = [
        lambda s: request.missing_words(read.measured_SLF[s], columns),
        lambda s: request.outlier_words(read.out_SLF[s], columns, read.done),
        lambda s: request.missing_words(ahead_SHK[s], schema.known, " ahead"),
        lambda s: request.absent_words(steps_S[s], window),
        lambda s: request.range_words(read.reach_SF[s], columns, ""),
    ]
    absent_S = steps_S < reach(window) if window.lags else np.zeros_like(out_S)
    far_S = (read.reach_SF > request.FAR).any(1) & ~refused_S
    unseen = zip(_told(histories), histories.names, strict=True)
    said = [[*coded[words][1], *reader.unknown_words(name)] for words, name in unseen]
    for concerned_S, tell in zip((missing_S, out_S, missing_ahead_S, absent_S, far_S), words, strict=True):
        for s in np.flatnonzero(concerned_S):
            said[s] += tell(int(s))
    return said


def _category_codes(histories: Histories, coded: Coded, schema: Schema) -> NDArray:
    """Codes of the categorical columns, int64 [S, columns]."""
    none = np.empty((0, len(schema.categories)), np.int64)
    return np.concatenate([none, *(coded[words][0] for words in _told(histories))])


def _told(histories: Histories) -> list[tuple[str | None, ...]]:
    """The words of each series."""
    return list(zip(*histories.words.values(), strict=True)) or [()] * len(histories.names)


def _padded(values_SLF: NDArray, horizon: int) -> NDArray:
    return np.pad(values_SLF, ((0, 0), (0, horizon), (0, 0)))
