"""What moves a policy's answers, by integrated gradients: sentences and a picture. Knows attributions, not their making.

Legend: B windows (sequences), T steps, G inputs, A ages.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_ray.evaluate.explain.inputs import Input
from lstm_ray.evaluate.explain.shuffling import Question
from lstm_ray.evaluate.told import Told
from lstm_ray.evaluate.words import number, percent
from lstm_ray.figure import Figure, bars, heatmap
from lstm_ray.model.attribution import Attribution
from lstm_ray.run_dir import Finding

MOST = 128
"""Windows explained: gradients cost about sixty times as much as an answer."""
LARGE_GAP = 0.1
"""Share of the move that attributions may leave out before they are called untrustworthy."""


def told(question: Question) -> Told:
    """Attributions of some of a question's windows, in words."""
    found, unit = question.attribute(MOST)
    inputs = [one for one in question.inputs if one.role != "category"]
    return described(found, inputs, question.ages, unit, question.things)


def described(found: Attribution, inputs: list[Input], ages: dict[str, NDArray], unit: str, things: str) -> Told:
    """
    Args:
        inputs: those that have gradients, in the schema's order.
        ages: steps of each stretch, bool [T]; none: all steps alike.
        unit: of the answer, such as training deviations.
        things: windows, or sequences.
    """
    size_GA = moved(found, inputs, ages)
    total_G = size_GA.sum(1)
    names = [one.name for one in inputs]
    if found.known_BTK.shape[2] > _num_known(inputs):
        names.append("window.lags")
    most, num = int(total_G.argmax()), len(found.moved_B)
    text = (
        f"By integrated gradients {names[most]} moves the answer most: by {number(total_G[most])} {unit} on average of "
        f"{num} {things} of the validation part, {percent(float(total_G[most] / max(total_G.sum(), 1e-300)))} of all."
    )
    findings = [Finding(severity="info", text=text)]
    if found.gap > LARGE_GAP:
        text = (
            f"The integrated gradients miss {percent(found.gap)} of the moves, for parts of the policy count or jump."
        )
        findings.append(
            Finding(severity="advice", text=text, advice="Trust the shuffling above, which needs no gradients.")
        )
    details: dict[str, Any] = {
        "by_input": dict(zip(names, total_G.tolist(), strict=True)),
        "gap": found.gap,
        "windows": num,
        "unit": unit,
    }
    figure = _figure(size_GA, names, list(ages), unit, num, things, found.gap)
    return Told("", findings, [figure], details={"gradients": details})


def moved(found: Attribution, inputs: list[Input], ages: dict[str, NDArray]) -> NDArray:
    """How far each input moved the answer in each stretch, float64 [G, A]: the mean size of the sum of what its values there
    did; [G, 1] without ages. What window.lags read is a further input, the last."""
    values = {"target": found.target_BTC, "past": found.past_BTP, "known": found.known_BTK}
    columns = [(values[one.role], list(one.columns)) for one in inputs if one.role in values]
    lagged = list(range(_num_known(inputs), found.known_BTK.shape[2]))
    columns += [(found.known_BTK, lagged)] if lagged else []
    stretches = list(ages.values()) or [np.ones(found.past_BTP.shape[1], bool)]
    return np.array(
        [
            [np.abs(of_BTF[:, age_T][..., own].sum((1, 2), dtype=np.float64)).mean() for age_T in stretches]
            for of_BTF, own in columns
        ]
    )


def _num_known(inputs: list[Input]) -> int:
    return sum(len(one.columns) for one in inputs if one.role == "known")


def _figure(
    size_GA: NDArray, names: list[str], ages: list[str], unit: str, num: int, things: str, gap: float
) -> Figure:
    row, column = divmod(int(size_GA.argmax()), size_GA.shape[1])
    where = f", '{ages[column]}'" if len(ages) > 1 else ""
    caption = (
        f"How far each input moved the answer from that to typical inputs, mean size over {num} {things} of the validation "
        f"part, in {unit}: most by {names[row]}{where} ({number(float(size_GA[row, column]))}). All add up to the whole move "
        f"within {percent(max(gap, 0.001))}."
    )
    title = "Integrated gradients, by input and age" if len(ages) > 1 else "Integrated gradients, by input"
    if len(ages) > 1:
        return heatmap("gradients", title, caption, ages, names, size_GA)
    return bars("gradients", title, caption, names, {"moved": size_GA[:, 0]}, y_title=unit)
