"""How much forecasts are revised from origin to origin, the policy's beside the baselines': words and a picture (``churn``).

Knows scores; knows no model and no files. Legend: L leads that are revised.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from lstm_ray.evaluate.forecasts.view import View
from lstm_ray.evaluate.told import Told
from lstm_ray.evaluate.words import called, number, percent
from lstm_ray.figure import lines
from lstm_ray.run_dir import Finding

TOPIC = "How forecasts are revised"
RESTLESS = 0.5
"""Share of the error that a revision may have before it is advised against."""
BESIDE = ("ridge", "seasonal_naive")
"""Baselines whose revisions are told, where there are any."""


def has_pairs(view: View) -> bool:
    """False where no window follows another within a batch, or the horizon is one step."""
    policy = view.scores[view.policy]
    return policy.num_pairs > 0 and policy.revision_LC.size > 0


def told(view: View) -> Told:
    """Of the policy and the baselines beside it, where it ``has_pairs``."""
    policy = view.scores[view.policy]
    names = [view.policy, *(name for name in BESIDE if name in view.scores)]
    unit_C = np.ones_like(view.deviation_C) if len(view.deviation_C) == 1 else view.deviation_C
    by_lead = {name: (view.scores[name].revision_LC / (policy.num_pairs * unit_C)).mean(axis=1) for name in names}
    mean = {name: float(values.mean()) for name, values in by_lead.items()}
    deviations = {
        name: float((view.scores[name].revision_LC / view.deviation_C).mean() / policy.num_pairs) for name in names
    }
    # Of the leads that are revised: the last step of a horizon is forecast for the first time.
    error = {name: float(np.nanmean(view.mae(name, "horizon")[:-1])) for name in names}
    share = {name: mean[name] / error[name] if error[name] else None for name in names}
    details = {
        "pairs": policy.num_pairs,
        "unit": view.unit,
        "mean": mean,
        "deviations": deviations,
        "share_of_mae": share,
        "by_lead": {name: values.tolist() for name, values in by_lead.items()},
    }
    figure = lines(
        "churn",
        "How far forecasts of the same step move",
        _caption(view, by_lead),
        np.arange(1, len(by_lead[view.policy]) + 1).tolist(),
        {called(name): values.tolist() for name, values in by_lead.items()},
        x_title="steps ahead, at the later of two origins",
        y_title=view.unit,
    )
    return Told(TOPIC, [_finding(view, mean, share)], [figure], details={"churn": details})


def _caption(view: View, by_lead: Mapping[str, NDArray]) -> str:
    own = by_lead[view.policy]
    return (
        f"Mean absolute change of the median forecast from one origin to the next: {number(float(own[0]))} for the step that "
        f"is then one ahead, {number(float(own[-1]))} for that {len(own)} ahead."
    )


def _finding(view: View, mean: Mapping[str, float], share: Mapping[str, float | None]) -> Finding:
    own = share[view.policy]
    said = "" if own is None else f", {percent(own)} of its mean absolute error"
    text = (
        f"From one origin to the next the policy's forecast of the same step moves by {number(mean[view.policy])}{view.pooled} "
        f"on average{said}"
    )
    others = [
        f"the {called(name)}'s by {number(mean[name])}"
        + (f" ({percent(part)})" if (part := share[name]) is not None else "")
        for name in mean
        if name != view.policy
    ]
    text += "".join(f"; {one}" for one in others) + "."
    if own is None or own <= RESTLESS:
        return Finding(severity="info", text=text)
    advice = (
        "Where revisions cost, average each forecast with the one before it, train more model.members, or set "
        "train.weight_averaging."
    )
    return Finding(severity="advice", text=text, advice=advice)
