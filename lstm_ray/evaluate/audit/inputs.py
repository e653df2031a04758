"""Inputs that hold what is to be forecast: the target some steps later, scaled, noisy or smoothed over both sides.

Each input alone, beside the target's own past, is asked for each lead what it adds to a linear forecast. Fitted on the
training part, measured on the validation part; the test part is not read. Knows no policy and no files.

Legend: R rows, M windows, F features, J offsets of an input.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lstm_ray.data.parts import Boundaries, Part
from lstm_ray.data.windows import Segments, origins
from lstm_ray.evaluate.audit.checks import Check
from lstm_ray.evaluate.forecasts.statistical import spread
from lstm_ray.evaluate.words import number, percent
from lstm_ray.sections.prepare import WindowConfig

NAME = "inputs that know the future"
FROM_THE_PAST = 0.35
"""Share of the squared error left by the target's own past that no honest past input takes away: weather does 0.2 at most,
the target five steps later in noise of a third of its own deviation 0.48."""
WORTH_A_LOOK = 0.25
"""Share that may be honest, and is more than most inputs have: its dates are worth a look."""
AHEAD_OF_IT = 0.6
"""The same for inputs that are known ahead where they move before the target does, and for those that do not change."""
WITH_IT = 0.95
"""The same for inputs that are known ahead and move as the target does or after it: they may honestly decide it, such as
a plan that is kept."""
MOST_LEADS, MOST_OFFSETS, MOST_COLUMNS = 8, 48, 24
"""Leads and offsets looked at; targets and inputs, each."""
MOST_FITTED, MOST_MEASURED = 4000, 2000
"""Windows of the training and of the validation part, spread evenly."""
FEWEST = 60
"""Windows below which nothing can be said."""
PENALTIES = (1e-6, 1e-4, 1e-2, 1.0)
"""Of the ridge, in shares of the windows; that which measures best is taken, for both sides alike."""
FEWEST_SERIES = 20
Role = Literal["past", "known", "static"]


@dataclass(frozen=True)
class Adds:
    """What an input adds to the forecast of a target, where it adds most."""

    target: str
    input: str
    role: Role
    lead: int
    share: float
    """Of the squared error that the target's own past leaves there."""
    shares: dict[int, float]
    """By lead."""
    likeness: float
    """Largest correlation, whatever its sign, of the input's changes with the target's, some steps apart."""
    later: int
    """How many steps later the target's are; below 0: earlier."""

    @property
    def knows(self) -> bool:
        if self.role == "past":
            return self.share >= FROM_THE_PAST
        return self.share >= (WITH_IT if self.role == "known" and self.later <= 0 else AHEAD_OF_IT)

    def words(self) -> str:
        what = (
            f"'{self.input}' takes away {percent(self.share)} of the squared error that {self.target}'s own past leaves"
        )
        what += f" {self.lead:,} step{'s' * (self.lead > 1)} ahead" if self.role != "static" else " in other series"
        if self.later > 0 and self.likeness >= 0.1:
            what += (
                f" (its changes are most like the target's {self.later:,} step{'s' * (self.later > 1)} later: correlation "
                f"{number(self.likeness)})"
            )
        return what


def that_know(segments: Segments, parts: Boundaries, window: WindowConfig, seed: int) -> Check:
    """Every past, known and static input beside every target."""
    schema = segments.schema
    names = [*schema.past, *schema.known]
    if not names:
        return Check(NAME, "left out", "There are no inputs beside the targets and the calendar.")
    found = adds(segments, parts, window, seed)
    if not found:
        text = f"Fewer than {FEWEST} windows with a measured target in the training or the validation part: too few to fit."
        return Check(NAME, "left out", text)
    details = {
        "inputs": [
            {
                "input": one.input,
                "target": one.target,
                "role": one.role,
                "share": one.share,
                "lead": one.lead,
                "later": one.later,
                "likeness": one.likeness,
                "shares": {str(lead): share for lead, share in one.shares.items()},
            }
            for one in found
        ]
    }
    caught = sorted((one for one in found if one.knows), key=lambda one: -one.share)
    if caught:
        listed = sorted({one.input for one in caught})
        return Check(
            NAME,
            "failed",
            "; ".join(one.words() for one in caught[:3])
            + f". No honest measurement does: {_and(listed)} may hold the target "
            "itself, dated too early.",
            f"Take {_and(listed)} out of the data section, or date each value by when it becomes known.",
            {**details, "caught": listed},
        )
    most = max(found, key=lambda one: one.share)
    text = f"No input tells more of a target than an honest one may: at most, {most.words()}."
    advice = ""
    if most.share >= WORTH_A_LOOK:
        when = "that early" if most.role == "past" else "when a forecast is made"
        advice = f"That is much for an honest input: see that '{most.input}' is truly known {when}."
    return Check(NAME, "passed", text, advice, {**details, "caught": []})


def adds(segments: Segments, parts: Boundaries, window: WindowConfig, seed: int) -> list[Adds]:
    """What each input adds for each target; empty where there are too few windows."""
    schema, found = segments.schema, []
    places = {"past": schema.past, "known": schema.known}
    centred_RC = centred(segments, segments.target_RC)
    chosen: dict[str, NDArray] = {
        part: _spread(segments, parts, part, window, seed) for part in ("train", "validation")
    }
    if min(map(len, chosen.values())) < FEWEST:
        return []
    for c, target in enumerate(schema.target[:MOST_COLUMNS]):
        target_R, observed_R = centred_RC[:, c], segments.observed_RC[:, c] > 0
        own = _Own.of(segments, target_R, observed_R, chosen, window)
        for role, names in places.items():
            values_RF = segments.past_RP if role == "past" else segments.known_RK[:, : len(schema.known)]
            for f, name in enumerate(names[:MOST_COLUMNS]):
                input_R = centred(segments, values_RF[:, [f]])[:, 0]
                if role == "known" and not input_R.any():
                    one = _static(segments, parts, c, f)
                    found += [one] if one else []
                elif one := own.beside(role, name, target, input_R):  # type: ignore[arg-type]
                    found.append(one)
    return found


@dataclass(frozen=True)
class _Own:
    """A target's own past, and what it leaves unexplained at every lead."""

    window: WindowConfig
    target_R: NDArray
    chosen: dict[str, NDArray]
    first: dict[str, NDArray]
    """First row of each window's history."""
    wanted: dict[int, dict[str, tuple[NDArray, NDArray, NDArray]]]
    """By lead and part: the windows whose step was measured (numbers), their target and the features of its own past."""
    error: dict[int, float]
    """Mean square on the validation part, by lead."""
    measured_R: NDArray
    segment_R: NDArray

    @classmethod
    def of(
        cls,
        segments: Segments,
        target_R: NDArray,
        observed_R: NDArray,
        chosen: dict[str, NDArray],
        window: WindowConfig,
    ) -> _Own:
        first = {part: rows_M - window.history + 1 for part, rows_M in chosen.items()}
        wanted: dict[int, dict[str, tuple[NDArray, NDArray, NDArray]]] = {}
        error = {}
        calendar_RK = segments.known_RK[:, len(segments.schema.known) :]
        for lead in leads(window.horizon):
            both = {}
            for part, rows_M in chosen.items():
                kept = np.flatnonzero(observed_R[rows_M + lead])
                at, low = rows_M[kept], first[part][kept]
                back = np.arange(offsets(window))
                season = lead - window.season * -(-lead // window.season)
                seasonal = np.concatenate([[season - 1, season, season + 1], [season - window.season]])
                rows_MF = np.concatenate([at[:, None] - back, np.minimum(at[:, None] + seasonal, at[:, None])], axis=1)
                features = np.concatenate([target_R[np.maximum(rows_MF, low[:, None])], calendar_RK[at + lead]], axis=1)
                both[part] = (kept, target_R[at + lead], features)
            if min(len(one[0]) for one in both.values()) < FEWEST:
                continue
            wanted[lead], error[lead] = both, _error(both["train"][1:], both["validation"][1:])
        segment_R = segments.series_of(np.arange(len(target_R)))
        return cls(window, target_R, chosen, first, wanted, error, observed_R, segment_R)

    def beside(self, role: Role, name: str, target: str, input_R: NDArray) -> Adds | None:
        """What an input adds; None where nothing is left to explain."""
        if not np.ptp(input_R):
            return None
        likeness, later = self._likeness(input_R)
        shares = {}
        for lead, both in self.wanted.items():
            left = float(np.var(both["validation"][1]))
            if self.error[lead] <= 1e-9 * left or left == 0:
                continue
            more = {}
            for part, (kept, wanted, features) in both.items():
                at, low = self.chosen[part][kept][:, None], self.first[part][kept][:, None]
                read = self._offsets(role, lead, later)
                last = at + (self.window.horizon if role == "known" else 0)
                rows_MJ = np.clip(at + read, low, last)
                more[part] = (wanted, np.concatenate([features, input_R[rows_MJ]], axis=1))
            shares[lead] = max(0.0, 1 - _error(more["train"], more["validation"]) / self.error[lead])
        if not shares:
            return None
        lead = max(shares, key=lambda one: shares[one])
        return Adds(target, name, role, lead, shares[lead], shares, likeness, later)

    def _offsets(self, role: Role, lead: int, later: int) -> NDArray:
        """Steps from the origin at which the input is read: of a past input its newest, of a known one those about the step
        that is asked for; and those where it is most like the target."""
        like = lead - later + np.arange(-1, 2)
        if role == "past":
            return np.concatenate([-np.arange(offsets(self.window)), np.minimum(like, 0)])
        return np.concatenate([lead + np.arange(-offsets(self.window), offsets(self.window) // 2), like])

    def _likeness(self, input_R: NDArray) -> tuple[float, int]:
        """Largest correlation of the input's changes with the target's, and how many steps later the target's are."""
        same_R = np.diff(self.segment_R) == 0
        same_R &= self.measured_R[1:] & self.measured_R[:-1]
        change_R = [
            np.where(same_R, np.diff(values_R.astype(np.float64)), 0.0) for values_R in (self.target_R, input_R)
        ]
        norm = np.sqrt(np.prod([(one**2).sum() for one in change_R]))
        if norm == 0:
            return 0.0, 0
        most = min(2 * max(self.window.horizon, self.window.season), len(same_R) - 1)
        lags = np.arange(-most, most + 1)
        size = 2 ** int(np.ceil(np.log2(len(same_R) + most + 1)))
        turned = np.fft.rfft(change_R[0], size) * np.conj(np.fft.rfft(change_R[1], size))
        found = np.abs(np.fft.irfft(turned, size)[lags]) / norm
        best = int(found.argmax())
        return float(min(1.0, found[best])), int(lags[best])


def centred(segments: Segments, values_RF: NDArray) -> NDArray:
    """Values less their series' mean, float64 [R, F]: series differ in level, which says nothing of the future."""
    _, series_S = np.unique(np.asarray(segments.series, dtype=np.str_), return_inverse=True)
    series_R = np.repeat(series_S, np.diff(segments.bounds))
    count = np.maximum(np.bincount(series_R), 1)
    found = values_RF.astype(np.float64)
    for f in range(found.shape[1]):
        found[:, f] -= (np.bincount(series_R, found[:, f]) / count)[series_R]
        # What does not change in a series is left with rounding alone.
        found[:, f] *= np.abs(found[:, f]).max(initial=0) > 1e-6 * np.abs(values_RF[:, f]).max(initial=0)
    return found


def leads(horizon: int) -> list[int]:
    """Steps ahead that are looked at, the first and the last among them."""
    return sorted({int(lead) for lead in np.linspace(1, horizon, min(horizon, MOST_LEADS))})


def offsets(window: WindowConfig) -> int:
    """Newest steps of an input that are read: no shift falls between two leads."""
    return min(window.history, max(MOST_OFFSETS, -(-window.horizon // (MOST_LEADS - 1)) + 2))


def _spread(segments: Segments, parts: Boundaries, part: Part, window: WindowConfig, seed: int) -> NDArray:
    most = MOST_FITTED if part == "train" else MOST_MEASURED
    return spread(origins(segments, parts, part, window), most, seed)


def _error(train: tuple[NDArray, NDArray], held_out: tuple[NDArray, NDArray]) -> float:
    """Mean square of a ridge on what it was not fitted to, by the penalty that does best there."""
    (wanted_M, features_MF), (asked_M, given_MF) = train, held_out
    mean_F, scale_F = features_MF.mean(axis=0), features_MF.std(axis=0)
    scale_F = np.where(scale_F > 1e-12, scale_F, np.inf)
    design_MF, middle = (features_MF - mean_F) / scale_F, wanted_M.mean()
    gram_FF, cross_F = design_MF.T @ design_MF, design_MF.T @ (wanted_M - middle)
    ahead_MF = (given_MF - mean_F) / scale_F
    errors = []
    for penalty in PENALTIES:
        weight_F = np.linalg.solve(gram_FF + penalty * len(wanted_M) * np.eye(len(gram_FF)), cross_F)
        errors.append(float(np.mean((asked_M - middle - ahead_MF @ weight_F) ** 2)))
    return min(errors)


def _static(segments: Segments, parts: Boundaries, channel: int, column: int) -> Adds | None:
    """A value that does not change in a series beside how far the series' mean moves from training to validation: other
    series must not tell it. None where there are too few series with both."""
    schema = segments.schema
    names, series_S = np.unique(np.asarray(segments.series, dtype=np.str_), return_inverse=True)
    row_R = np.arange(len(segments.target_RC))
    step_R, series_R = segments.steps(row_R), series_S[segments.series_of(row_R)]
    measured_R = segments.observed_RC[:, channel] > 0
    mean = []
    for part in ("train", "validation"):
        first, end = parts[part]
        inside_R = measured_R & (step_R >= first) & (step_R < end)
        count = np.bincount(series_R[inside_R], minlength=len(names))
        total = np.bincount(series_R[inside_R], segments.target_RC[inside_R, channel], minlength=len(names))
        mean.append(np.where(count > 0, total / np.maximum(count, 1), np.nan))
    value = segments.known_RK[segments.bounds[:-1], column][np.unique(series_S, return_index=True)[1]]
    before, after = mean
    kept = np.isfinite(before) & np.isfinite(after) & np.isfinite(value)
    if segments.part_S is not None or kept.sum() < FEWEST_SERIES or not np.ptp(value[kept]):
        return None
    plain = np.stack([np.ones(kept.sum()), before[kept]], axis=1)
    own, more = (_left_out(design, after[kept]) for design in (plain, np.column_stack([plain, value[kept]])))
    share = max(0.0, 1 - more / own) if own > 0 else 0.0
    return Adds(schema.target[channel], schema.known[column], "static", 0, share, {}, 0.0, 0)


def _left_out(design: NDArray, wanted: NDArray) -> float:
    """Mean square of a linear fit on each row that was left out of it."""
    hat = design @ np.linalg.pinv(design)
    left: NDArray = (wanted - hat @ wanted) / np.maximum(1 - np.diag(hat), 1e-9)
    return float(np.mean(left**2))


def _and(names: list[str]) -> str:
    quoted = [f"'{name}'" for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"


def as_rows(check: Check) -> list[list[Any]]:
    """What each input adds, the most telling first: input, target, role, lead, share."""
    found = sorted(check.details.get("inputs", []) if check.name == NAME else [], key=lambda one: -one["share"])
    return [[one["input"], one["target"], one["role"], one["lead"], one["share"]] for one in found]
