"""What can be done to the inputs: steps that never came, came late or came wrong. Knows no model and no score.

Damage is done to copies of windows (sequences), so that a step removed from one history is still the truth of another. What
is missing is filled as serving fills it (preprocess.impute) and marked unobserved, the training mean where no rule reaches.
Each kind makes one random draw for all severities: what is missing at 10 % is also missing at 30 %, so that a curve shows
damage, not luck. Shapes: R rows, S segments (one for each window), C targets, P past inputs, F = C + P, X inputs that may
be absent: past and known ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lstm_ray.data.quality.impute import FORWARD, Filling, fill
from lstm_ray.data.scaling.units import centres
from lstm_ray.data.schema import Own, Scaler
from lstm_ray.data.windows import Segments
from lstm_ray.sections.evaluate import DAMAGES, Damage

SPIKE = 8.0
"""Training deviations of an outlier: beyond what the default preprocess.outlier_deviations calls one."""


@dataclass(frozen=True)
class Given:
    """Undamaged copies of windows, where they may be damaged, and by which draws."""

    whole: Segments
    open_R: NDArray
    """Rows that may be damaged, bool: what lies up to an origin, or a whole sequence. In a segment they have no gaps."""
    length_S: NDArray
    """Newest open rows of each segment that are its history; what lies before them is read for lags and fillings alone."""
    scaler: Scaler
    filling: Filling
    seed: int

    @cached_property
    def segment(self) -> NDArray:
        """Each row's segment, [R]."""
        return np.repeat(np.arange(len(self.length_S)), np.diff(self.whole.bounds))

    @cached_property
    def end(self) -> NDArray:
        """The row after each segment's last open one, [S]."""
        return self.whole.bounds[:-1] + np.add.reduceat(self.open_R, self.whole.bounds[:-1], dtype=np.int64)

    @cached_property
    def age(self) -> NDArray:
        """Steps from each row to its segment's newest open one, which has 0; less than 0 behind it [R]."""
        return self.end[self.segment] - 1 - np.arange(len(self.open_R))

    @cached_property
    def position(self) -> NDArray:
        """Steps from the beginning of the history to each row; less than 0 before it [R]."""
        return self.length_S[self.segment] - 1 - self.age

    @cached_property
    def stops(self) -> NDArray:
        """Bounds that no filling crosses: a server fills a history before anybody knows what follows it."""
        return np.union1d(self.whole.bounds, self.end)

    @property
    def width(self) -> int:
        return self.whole.target_RC.shape[1] + self.whole.past_RP.shape[1]

    def random(self, kind: Damage) -> np.random.Generator:
        """The same for every severity of a kind, whatever other kinds there are."""
        return np.random.default_rng([self.seed, DAMAGES.index(kind)])

    def moment(self, kind: Damage) -> NDArray:
        """Position of a moment drawn from each row's history; never behind its newest step, [R]."""
        drawn_S = self.random(kind).random(len(self.length_S))
        moment_S: NDArray = np.floor(drawn_S * self.length_S).astype(np.int64)
        return moment_S[self.segment]

    def without(self, removed_R: NDArray) -> Segments:
        return remove_steps(self.whole, removed_R, self.scaler, self.filling, self.stops)


Kind = Callable[[Given, float], Segments]
"""Windows and a severity above 0 -> the windows damaged."""


def missing(given: Given, share: float) -> Segments:
    """Steps that never arrived, at random."""
    lot_R = given.random("missing").random(len(given.open_R))
    return given.without(given.open_R & (lot_R < share))


def blocks(given: Given, share: float) -> Segments:
    """As many steps of each history missing in one block. It goes on from the newest step to the oldest, so that all steps
    are missing equally often."""
    length_R = given.length_S[given.segment]
    since_R = (given.position - given.moment("blocks")) % np.maximum(length_R, 1)
    return given.without(given.open_R & (given.position >= 0) & (since_R < np.rint(share * length_R)))


def noise(given: Given, size: float) -> Segments:
    """Normal noise of so many training deviations on every value."""
    noise_RF = given.random("noise").standard_normal((len(given.open_R), given.width), dtype=np.float32)
    return shifted(given.whole, size * noise_RF * given.open_R[:, None], given.scaler)


def outliers(given: Given, share: float) -> Segments:
    """A share of the values SPIKE training deviations too high or too low."""
    lot_RF, side_RF = given.random("outliers").random((2, len(given.open_R), given.width), dtype=np.float32)
    hit_RF = given.open_R[:, None] & (lot_RF < share)
    return shifted(given.whole, SPIKE * np.where(side_RF < 0.5, -1, 1) * hit_RF, given.scaler)


def level(given: Given, size: float) -> Segments:
    """All steps before a random moment of the history so many training deviations higher: the series has fallen to another
    level since, on which it goes on."""
    before_R = given.open_R & (given.position < given.moment("level"))
    return shifted(given.whole, size * np.repeat(before_R[:, None], given.width, axis=1), given.scaler)


def scale(given: Given, more: float) -> Segments:
    """All steps before a random moment of the history further from the typical value, by so large a share (1: twice as
    far): the series has become calmer since."""
    before_R = given.open_R & (given.position < given.moment("scale"))
    distance_RF = np.nan_to_num(distances(given.whole, given.scaler))
    return shifted(given.whole, more * distance_RF * before_R[:, None], given.scaler)


def irregular(given: Given, steps: float) -> Segments:
    """Readings at irregular times, off by a normal number of steps with this deviation, and put back on the grid: a step has
    the mean of what lies in it, and is missing where nothing does. What lies behind the history has not arrived yet."""
    whole, rows = given.whole, np.arange(len(given.open_R))
    moved_R = rows + np.rint(steps * given.random("irregular").standard_normal(len(rows))).astype(np.int64)
    starts_R, ends_R = whole.bounds[:-1][given.segment], given.end[given.segment]
    lands_R = given.open_R & (moved_R >= starts_R) & (moved_R < ends_R)
    cell_E = moved_R[lands_R]
    count_R = np.bincount(cell_E, minlength=len(rows))
    taken_R, hole_R = given.open_R & (count_R > 0), given.open_R & (count_R == 0)

    def joined(values_RF: NDArray) -> NDArray:
        found = values_RF.copy()
        for f in range(values_RF.shape[1]):
            sum_R = np.bincount(cell_E, values_RF[lands_R, f], minlength=len(rows))
            found[taken_R, f] = sum_R[taken_R] / count_R[taken_R]
        return found

    resampled = replace(
        whole,
        target_RC=joined(whole.target_RC),
        past_RP=joined(whole.past_RP),
        observed_RC=np.where(given.open_R[:, None], joined(whole.observed_RC) > 0, whole.observed_RC).astype(
            np.float32
        ),
    )
    return remove_steps(resampled, hole_R, given.scaler, given.filling, given.stops)


def shorter(given: Given, share: float) -> Segments:
    """The oldest share of each history missing, and all before it: a caller with a younger series must send nothing there."""
    return given.without(given.open_R & (given.position < np.rint(share * given.length_S)[given.segment]))


def later(given: Given, steps: float) -> Segments:
    """The newest steps have not arrived yet when the forecast is made."""
    return given.without(given.open_R & (given.age < steps))


def inputs(given: Given, count: float) -> Segments:
    """So many past and known inputs missing altogether, at all steps, in each window others; the calendar is always known."""
    whole, schema = given.whole, given.whole.schema
    num_past, num_known = len(schema.past), len(schema.known)
    drawn_SX = given.random("inputs").random((len(given.length_S), num_past + num_known))
    absent_RX = (drawn_SX.argsort(axis=1).argsort(axis=1) < count)[given.segment]
    past_RX, known_RX = absent_RX[:, :num_past], absent_RX[:, num_past:]
    known_RK = whole.known_RK.copy()
    known_RK[:, :num_known] = _absent(known_RK[:, :num_known], known_RX, given, "known")
    observed_RC = whole.observed_RC
    if schema.label is not None:
        observed_RC = np.where(past_RX, np.float32(0), observed_RC)
    past_RP = _absent(whole.past_RP, past_RX, given, "past")
    return replace(whole, past_RP=past_RP, known_RK=known_RK, observed_RC=observed_RC)


def unseen(given: Given, severity: float) -> Segments:
    """Every series as one that training never saw: without its name and its words, in the units of its history alone."""
    whole = given.whole
    return replace(whole, series=[""] * len(whole.series), category_SK=np.zeros_like(whole.category_SK))


def shortened(whole: Segments, share: float, before_S: NDArray) -> Segments:
    """Segments that begin later: without the oldest share of the first ``before_S`` rows of each; one step stays."""
    cut_S = np.minimum(np.rint(share * before_S), np.diff(whole.bounds) - 1).astype(np.int64)
    return whole.stretches(np.stack([whole.bounds[:-1] + cut_S, whole.bounds[1:]], axis=1))


def ended_early(whole: Segments, share: float) -> Segments:
    """Sequences of which the last share has not arrived yet; one step of each has."""
    length_S = np.diff(whole.bounds)
    kept_S = np.maximum(1, length_S - np.rint(share * length_S).astype(np.int64))
    return whole.stretches(np.stack([whole.bounds[:-1], whole.bounds[:-1] + kept_S], axis=1))


def shifted(segments: Segments, shift_RF: NDArray, scaler: Scaler) -> Segments:
    """The segments with targets and then past inputs moved by so many training deviations: of what is learned, where targets
    are transformed or each series has units of its own. Where the shift is 0 nothing changes."""
    channels = segments.target_RC.shape[1]
    target_RC, past_RP = segments.target_RC, segments.past_RP
    shift_RC, shift_RP = shift_RF[:, :channels], shift_RF[:, channels:]
    if channels:
        moved_RC = scaler.moved(target_RC, shift_RC * _deviation(scaler), _own(segments, scaler))
        target_RC = np.where(shift_RC == 0, target_RC, moved_RC).astype(np.float32)
    past_RP = past_RP + shift_RP.astype(np.float32) * np.asarray(scaler.past.deviation, dtype=np.float32)
    return replace(segments, target_RC=target_RC, past_RP=past_RP)


def distances(segments: Segments, scaler: Scaler) -> NDArray:
    """How many training deviations each target and past input lies from its typical value, as ``shifted`` counts, [R, F]."""
    past_RP = (segments.past_RP - np.asarray(scaler.past.mean)) / np.asarray(scaler.past.deviation)
    if not segments.target_RC.shape[1]:
        return past_RP
    centre_RC = centres(segments.series, scaler).repeat(np.diff(segments.bounds), axis=0)
    target_RC = scaler.difference(segments.target_RC, centre_RC, _own(segments, scaler)) / _deviation(scaler)
    return np.concatenate([target_RC, past_RP], axis=1)


def remove_steps(
    segments: Segments, removed_R: NDArray, scaler: Scaler, filling: Filling = FORWARD, stops: NDArray | None = None
) -> Segments:
    """The segments as a server would see them had some rows' targets and past inputs never arrived.

    Args:
        stops: bounds that no filling crosses, such as those between histories and what follows them; none: the segments'.
    """
    bounds = segments.bounds if stops is None else stops

    def filled(values_RF: NDArray, mean: NDArray | list[float]) -> NDArray:
        holes = np.where(removed_R[:, None], np.nan, values_RF).astype(np.float32, copy=False)
        holes = fill(holes, bounds, filling)
        return np.where(np.isnan(holes), np.asarray(mean, dtype=np.float32), holes)

    return replace(
        segments,
        target_RC=filled(segments.target_RC, centres(segments.series, scaler).repeat(np.diff(segments.bounds), axis=0)),
        past_RP=filled(segments.past_RP, scaler.centre("past")),
        observed_RC=np.where(removed_R[:, None], np.float32(0), segments.observed_RC),
    )


KINDS: dict[Damage, Kind] = {
    "missing": missing,
    "blocks": blocks,
    "noise": noise,
    "outliers": outliers,
    "level": level,
    "scale": scale,
    "irregular": irregular,
    "shorter": shorter,
    "inputs": inputs,
    "later": later,
    "unseen": unseen,
}
"""All but ``longer``, for which more must be read than there is in a window."""


def _absent(values_RF: NDArray, absent_RF: NDArray, given: Given, role: Literal["past", "known"]) -> NDArray:
    """Columns that a server never gets, as it fills them: by the rule where that needs no value, else typical."""
    holes = np.where(absent_RF, np.float32(np.nan), values_RF)
    holes = fill(holes, given.whole.bounds, given.filling)
    filled: NDArray = np.where(np.isnan(holes), np.asarray(given.scaler.centre(role), dtype=np.float32), holes)
    return np.where(absent_RF, filled, values_RF)


def _own(segments: Segments, scaler: Scaler) -> Own | None:
    """Each row's units, where each series has its own; those of a series' name alone."""
    own = scaler.own(segments.series, lambda b: np.empty((0, len(scaler.target.mean))))
    return None if own is None else own.repeat(np.diff(segments.bounds))


def _deviation(scaler: Scaler) -> NDArray:
    """Of each target as it is learned, in the unit that ``Scaler.moved`` counts in, [C]."""
    return np.ones(1) if scaler.series is not None else scaler.units("target")[1] * scaler.spread("target")
