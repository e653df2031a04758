"""Series that fail in the same way: clusters of their error profiles. Knows errors beside the best baseline's; knows no model.

A profile has, for each part of the horizon, of the day and of the week, how much larger the policy's error is than the
baseline's there (a logarithm), and its bias as a share of its error. Clusters come from k-means, their number from the
silhouette (Rousseeuw 1987); where no number parts the series well, none is told.
Legend: N series, F features, K clusters, M windows, H horizon, C targets.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score

from lstm_ray.data.timeline import calendar
from lstm_ray.evaluate.forecasts.view import View
from lstm_ray.evaluate.residuals.sample import FEWEST_SERIES, Sample
from lstm_ray.evaluate.told import Told
from lstm_ray.evaluate.words import called, percent
from lstm_ray.figure import Figure, heatmap
from lstm_ray.run_dir import Finding

MOST_CLUSTERS = 6
FEWEST_WINDOWS = 5
"""Windows that a series must have in a sample to have a profile."""
PARTED = 0.3
"""Silhouette from which clusters are taken to be there."""
WORSE, BIASED = 0.05, 0.35
"""From which a group of series is told: error above the baseline's, bias as a share of the error."""
FURTHEST = 2.0
"""Logarithm of an error over the baseline's beyond which it says no more."""
NAMED = 5


@dataclass(frozen=True)
class Slice:
    """A part of what is forecast."""

    name: str
    held_MH: NDArray
    """bool, broadcastable to [M, H]."""


@dataclass(frozen=True)
class Cluster:
    """Series with profiles alike."""

    members: list[str]
    worse: float
    """Their error over the baseline's, less 1."""
    bias: float
    """As a share of their error."""
    trait: str
    """Where they differ most from the others, in words."""

    @property
    def fails(self) -> bool:
        return self.worse > WORSE or abs(self.bias) > BIASED


@dataclass(frozen=True)
class Profiles:
    """Series by features."""

    names: list[str]
    features: list[str]
    ratio_NF: NDArray
    """Logarithm of error over the baseline's, by slice."""
    bias_NF: NDArray
    """Share of the error, by slice; above 0 too high."""
    error_N: NDArray
    rival_N: NDArray


def profiles(view: View, sample: Sample) -> Profiles:
    """Of series with FEWEST_WINDOWS windows in a sample and something measured in every slice."""
    slices = _slices(view, sample)
    num = len(sample.names)
    seen = np.isfinite(sample.error_MHC)
    mine, rival = (np.where(seen, np.abs(values), 0) for values in (sample.error_MHC, sample.rival_MHC))
    signed = np.where(seen, sample.error_MHC, 0)

    def by_series(values_MHC: NDArray, held_MH: NDArray) -> NDArray:
        return np.bincount(sample.series_M, np.where(held_MH[..., None], values_MHC, 0).sum((1, 2)), num)

    parts = [[by_series(values, one.held_MH) for one in slices] for values in (mine, rival, signed, seen.astype(float))]
    mine_NF, rival_NF, signed_NF, count_NF = (np.stack(part, axis=1) for part in parts)
    windows_N = np.bincount(sample.series_M, minlength=num)
    kept = np.flatnonzero(
        (windows_N >= FEWEST_WINDOWS) & (count_NF > 0).all(1) & (mine_NF > 0).all(1) & (rival_NF > 0).all(1)
    )
    # The first slice is everything.
    ratio_NF = np.clip(np.log(mine_NF[kept] / rival_NF[kept]), -FURTHEST, FURTHEST)
    return Profiles(
        [sample.names[n] for n in kept],
        [one.name for one in slices],
        ratio_NF,
        signed_NF[kept] / mine_NF[kept],
        mine_NF[kept, 0],
        rival_NF[kept, 0],
    )


def clusters(found: Profiles) -> tuple[list[Cluster], NDArray, float] | None:
    """Clusters from the one that fails most, the cluster of each series [N], and the silhouette; None where series are few or
    do not part."""
    num = len(found.names)
    if num < FEWEST_SERIES:
        return None
    # Ratios and shares of bias are of one size already; scaling each would blow its noise up.
    profile_NF = np.concatenate([found.ratio_NF, found.bias_NF], axis=1)
    if not np.ptp(profile_NF, axis=0).max() > 0:
        return None
    best, label_N = 0.0, np.zeros(num, np.int64)
    for k in range(2, min(MOST_CLUSTERS, num - 1) + 1):
        told_N = KMeans(k, n_init=10, random_state=0).fit_predict(profile_NF)
        if len(np.unique(told_N)) == k and np.bincount(told_N).min() >= 2:
            score = float(silhouette_score(profile_NF, told_N))
            if score > best:
                best, label_N = score, told_N
    if best < PARTED:
        return None
    made = [(_cluster(found, profile_NF, label_N == k), k) for k in range(int(label_N.max()) + 1)]
    made.sort(key=lambda item: -max(item[0].worse, abs(item[0].bias)))
    place = {k: position for position, (_, k) in enumerate(made)}
    return [one for one, _ in made], np.array([place[int(k)] for k in label_N]), best


def told(view: View, sample: Sample) -> Told:
    """Groups of series that fail alike; nothing with few series."""
    if len(sample.names) < FEWEST_SERIES or not len(sample.step_M):
        return Told("")
    profile = profiles(view, sample)
    parted = clusters(profile)
    if parted is None:
        if len(profile.names) < FEWEST_SERIES:
            return Told("")
        text = f"The {len(profile.names)} series do not fall into groups that fail alike."
        return Told("", [Finding(severity="info", text=text)])
    found, label_N, silhouette = parted
    findings = [_finding(one, view) for one in found if one.fails]
    if not findings:
        text = f"The {len(profile.names)} series err in {len(found)} ways (silhouette {silhouette:.2f}), none of them badly."
        findings = [Finding(severity="info", text=text)]
    details = [{"series": one.members, "worse": one.worse, "bias": one.bias, "trait": one.trait} for one in found]
    figures = [_figure(profile, found, label_N, silhouette, view)]
    return Told("", findings, figures, details={"series_alike": {"silhouette": silhouette, "clusters": details}})


def _slices(view: View, sample: Sample) -> list[Slice]:
    """Everything, thirds of the horizon, quarters of the day, days of work and others."""
    horizon = sample.error_MHC.shape[1]
    lead_H = np.arange(horizon)
    found = [Slice("everywhere", np.ones((1, horizon), bool))]
    if horizon >= 3:
        third_H = lead_H * 3 // horizon
        thirds = ("early in the horizon", "in the middle of the horizon", "late in the horizon")
        found += [Slice(name, (third_H == third)[None]) for third, name in enumerate(thirds)]
    schema = view.segments.schema
    if not schema.is_time:
        return found
    times = calendar.local(schema.times(sample.step_M[:, None] + 1 + lead_H), schema.time_zone)
    days = times.astype("datetime64[D]")
    quarter_MH = ((times - days) // np.timedelta64(6, "h")).astype(np.int64)
    if len(np.unique(quarter_MH)) == 4:
        names = (
            "at night (0 to 6)",
            "in the morning (6 to 12)",
            "in the afternoon (12 to 18)",
            "in the evening (18 to 24)",
        )
        found += [Slice(name, quarter_MH == quarter) for quarter, name in enumerate(names)]
    weekend_MH = (days.astype(np.int64) + 3) % 7 >= 5
    if weekend_MH.any() and not weekend_MH.all() and schema.step <= 86_400_000_000:
        found += [Slice("on weekends", weekend_MH), Slice("on weekdays", ~weekend_MH)]
    return found


def _cluster(found: Profiles, profile_NF: NDArray, held_N: NDArray) -> Cluster:
    """What sets some series apart from all the others."""
    members = [name for name, held in zip(found.names, held_N, strict=True) if held]
    error, rival = float(found.error_N[held_N].sum()), float(found.rival_N[held_N].sum())
    bias = float(found.bias_NF[held_N, 0].mean())
    gap_F = profile_NF[held_N].mean(0) - profile_NF[~held_N].mean(0)
    ratio_F, bias_F = np.split(gap_F, 2)
    # A bias tells more than the size of the error that it makes.
    f = int(np.abs(bias_F).argmax())
    if abs(bias_F[f]) > BIASED:
        trait = f"too {'high' if found.bias_NF[held_N, f].mean() > 0 else 'low'} {found.features[f]}"
    else:
        f = int(np.abs(ratio_F).argmax())
        trait = f"{'worse' if ratio_F[f] > 0 else 'better'} against the baseline {found.features[f]}"
    return Cluster(members, error / rival - 1, bias, trait)


def _finding(one: Cluster, view: View) -> Finding:
    shown = ", ".join(one.members[:NAMED]) + (
        f" and {len(one.members) - NAMED} more" if len(one.members) > NAMED else ""
    )
    side = "above" if one.worse > 0 else "below"
    rival = called(view.rival)
    text = (
        f"{len(one.members)} series fail alike: {one.trait} ({shown}). Their error is {percent(abs(one.worse))} {side} the "
        f"{rival}'s, their bias {percent(abs(one.bias))} of it."
    )
    advice = "Look for what they share and the others lack: a static column that tells it would set them apart."
    if one.worse > WORSE:
        advice = f"Serve the {rival} for these, or tell the network what they share (data.static)."
    return Finding(severity="advice", text=text, advice=advice)


def _figure(found: Profiles, made: list[Cluster], label_N: NDArray, silhouette: float, view: View) -> Figure:
    """Profile of each cluster."""
    rows = [f"{len(one.members)} series {number + 1}" for number, one in enumerate(made)]
    share_KF = 100 * np.array([found.bias_NF[label_N == k].mean(0) for k in range(len(made))])
    ratio_KF = 100 * np.expm1([found.ratio_NF[label_N == k].mean(0) for k in range(len(made))])
    columns = [f"error {name}" for name in found.features] + [f"bias {name}" for name in found.features]
    worst, rival = made[0], called(view.rival)
    caption = (
        f"{len(found.names)} series in {len(made)} groups by how they err (silhouette {silhouette:.2f}): error above the "
        f"{rival}'s and bias as a share of the error, in percent. The {len(worst.members)} of the first are {worst.trait}."
    )
    values = np.concatenate([ratio_KF, share_KF], axis=1).T
    return heatmap("series-alike", "Series that err alike", caption, rows, columns, values, diverging=True)
