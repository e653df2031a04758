"""A story's figures: the live error, what the monitor saw, who answered. Knows what was seen; knows no page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from lstm_ray import figure
from lstm_ray.figure import Figure
from lstm_ray.monitor.drift.joint import TOGETHER
from lstm_ray.operate.story import BAD, DAY_STEPS, Story
from lstm_ray.report.words import number

ERRORS, MONITOR, SERVED = "The live error", "What the monitor saw", "Who answered"
"""Topics."""
CLOSE = 0.06
"""Share of the story's length within which moments are told together."""


def figures(story: Story, found: Mapping[str, Any]) -> list[Figure]:
    drawn = [_error_figure(story, found), *_monitor_figures(story), _served_figure(story)]
    topics = [ERRORS, *[MONITOR] * (len(drawn) - 2), SERVED]
    return [one.model_copy(update={"topic": topic}) for one, topic in zip(drawn, topics, strict=True)]


def _error_figure(story: Story, found: Mapping[str, Any]) -> Figure:
    steps = range(story.first + DAY_STEPS, story.end)
    series = {
        f"by the {role}": [
            story.errors.mean(step - DAY_STEPS + 1, step + 1, version) if story.served.get(step) == version else None
            for step in steps
        ]
        for version, role in story.roles.items()
    }
    caption = (
        f"Mean absolute error, {story.unit}: {number(found['error_before'])} before the shift, {number(found['error_during'])} "
        f"from it on, and {number(found['error_after'])} of what the challenger answered"
    )
    if (trial := found["on_probation"]) is not None:
        caption += (
            f"; on the first {number(trial['values'])} values of these, as its shadow, the champion before made "
            f"{number(trial['champion_before'])}, the challenger {number(trial['challenger'])}"
        )
    drawn = figure.lines(
        "error",
        "Forecasts held against what came, the mean of a day's hours",
        f"{caption}.",
        [story.tape.time(step) for step in steps],
        series,
        y_title=f"mean absolute error, {story.unit}",
    )
    return _with_moments(drawn, story)


def _monitor_figures(story: Story) -> list[Figure]:
    times, found = [story.tape.time(look.step) for look in story.looks], list[Figure]()
    # What a policy that learned nothing takes for usual says nothing of the data.
    judged = [None if story.roles.get(story.served.get(look.step, "")) == BAD else look for look in story.looks]
    inputs = [None if look is None else look.inputs for look in judged]
    if any(value is not None for value in inputs):
        top = max((look for look in judged if look is not None), key=lambda look: look.inputs or 0.0)
        told = "beyond its limit" if (top.inputs or 0) > 1 else "towards its limit"
        who = "the measure of all columns together" if top.column == TOGETHER else f"'{top.column}'"
        caption = f"Of the inputs, {who} went furthest {told}, to {number(top.inputs)} times."
        series: dict[str, Sequence[Any]] = {
            "inputs": inputs,
            "forecasts": [None if look is None else look.predictions for look in judged],
            "limit": [1.0] * len(times),
        }
        title = "The largest distance from training, over its limit"
        found.append(figure.lines("drift", title, caption, times, series, y_title="times the limit"))
    ratios = [look.ratio for look in story.looks]
    if any(value is not None for value in ratios):
        highest = max(value for value in ratios if value is not None)
        caption = (
            f"At most {number(highest)} times the validation part's error. Over newer, shorter stretches, with limits of their "
            "own, an alarm may be raised before the whole one passes its limit."
        )
        series = {"rolling error over validation's": ratios, "limit": [look.limit for look in story.looks]}
        found.append(
            figure.lines("ratio", "The error that the server's monitor saw", caption, times, series, y_title="times")
        )
    return [_with_moments(drawn, story) for drawn in found]


def _served_figure(story: Story) -> Figure:
    steps = sorted(story.served)
    answered = [story.roles.get(story.served[step], story.served[step][:12]) for step in steps]
    changes = sum(before != after for before, after in pairwise(answered))
    num_failed = sum(phase.num_failed for phase in story.phases)
    caption = f"The policy that answered changed {changes} times; {num_failed} requests failed meanwhile."
    names = list(dict.fromkeys(answered))
    return figure.lines(
        "served",
        "Which policy answered",
        caption,
        [story.tape.time(step) for step in steps],
        {name: [name if one == name else None for one in answered] for name in names},
        mode="markers",
    )


def _with_moments(drawn: Figure, story: Story) -> Figure:
    """The figure with a line up at each moment, and its name; those close to one another share one text."""
    span, groups = story.end - story.first, list[list[tuple[str, int]]]()
    for moment in sorted(story.moments.items(), key=lambda one: one[1]):
        if groups and moment[1] - groups[-1][0][1] < CLOSE * span:
            groups[-1].append(moment)
        else:
            groups.append([moment])
    shapes, texts = [], []
    for group in groups:
        for _, step in group:
            x = story.tape.time(step)
            shapes.append(
                {
                    "type": "line",
                    "x0": x,
                    "x1": x,
                    "yref": "paper",
                    "y0": 0,
                    "y1": 1,
                    "line": {"dash": "dot", "width": 1},
                }
            )
        late = group[0][1] - story.first > span / 2
        text = {"x": story.tape.time(group[0][1]), "yref": "paper", "y": 1, "yanchor": "top", "showarrow": False}
        text |= {"text": ", ".join(name for name, _ in group), "xanchor": "right" if late else "left"}
        texts.append(text)
    return drawn.model_copy(update={"layout": drawn.layout | {"shapes": shapes, "annotations": texts}})
