"""What a policy relies on, in sentences and pictures. Knows importances; knows no task beyond its name."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from lstm_ray import progress
from lstm_ray.config import Config
from lstm_ray.data.parts import Boundaries
from lstm_ray.data.windows import Segments
from lstm_ray.errors import InputError
from lstm_ray.evaluate.explain import gradients, questions
from lstm_ray.evaluate.explain.shuffling import (
    Importance,
    Importances,
    Question,
    importances,
    num_measurements,
)
from lstm_ray.evaluate.told import Told
from lstm_ray.evaluate.words import listed, percent
from lstm_ray.figure import Figure, heatmap, plain
from lstm_ray.model.attribution import NEEDED
from lstm_ray.model.policy import Policy
from lstm_ray.run_dir import Finding, RunDir

TOPIC = "What it relies on"
SHOWN = 25
"""Inputs drawn, those that matter most."""
NAMED, SAID = 3, 8
"""Inputs said in one sentence: those that matter most, and those that do not."""


def require_installed(config: Config, run: RunDir | None = None) -> None:
    """Refuse, before training, what could not be explained after it."""
    if config.evaluate.explain == "gradients" and find_spec("captum") is None:
        raise InputError(NEEDED)


def told(config: Config, policy: Policy, segments: Segments, parts: Boundaries) -> list[Told]:
    """What a policy relies on, by its task, on the validation part; nothing where evaluate.explain is none."""
    require_installed(config)
    if config.evaluate.explain == "none":
        return []
    question = questions.ASKED[config.task](config, policy, segments, parts)
    return [_told(config, question)]


def _told(config: Config, question: Question) -> Told:
    with progress.bar("explain", num_measurements(question)) as advance:
        found = importances(question, config.seed, advance)
    if found is None:
        text = f"The validation part holds too few measured {question.things} to tell what the policy relies on."
        mine = Told(TOPIC, [Finding(severity="info", text=text)])
    else:
        findings = [_most(found, question), *_useless(found, question, config), *_by_lag(found, question, config)]
        mine = Told(TOPIC, findings, _figures(found, question), details={"explain": _details(found, question)})
    if config.evaluate.explain != "gradients" or len(question.whole.series) == 0:
        return mine
    more = gradients.told(question)
    return Told(TOPIC, mine.findings + more.findings, mine.figures + more.figures, details=mine.details | more.details)


def _details(found: Importances, question: Question) -> dict[str, Any]:
    return {"part": "validation", "metric": question.metric, "things": question.things, **found.facts()}


def _most(found: Importances, question: Question) -> Finding:
    """What matters, most first."""
    ranked = sorted(found.by_input, key=lambda one: -one.increase)
    clear = [one for one in ranked if one.is_clear and not one.is_useless]
    if not clear:
        text = f"No single input matters clearly: without any one the {question.metric} of {found.num:,} validation "
        text += f"{question.things} stays within the noise."
        return Finding(
            severity="info", text=text, advice="They may say the same; or the policy says nearly always the same."
        )
    first, *others = clear[:NAMED]
    text = (
        f"The policy relies most on {_said(first, question)}: with another {question.things[:-1]}'s in its place the "
        f"{question.metric} rises by {_sized(first).removeprefix('+')}"
    )
    text += f"; then on {listed([f'{_said(one, question)} ({_sized(one)})' for one in others])}" if others else ""
    text += f". ({found.num:,} {question.things} of the validation part; inputs that say the same share their worth.)"
    return Finding(severity="info", text=text)


def _useless(found: Importances, question: Question, config: Config) -> list[Finding]:
    """Inputs that nothing is lost without, as far as can be seen; of those that the YAML names, the surest to be left out."""
    unclear = [one for one in found.by_input if one.is_useless or not one.is_clear]
    if not unclear or len(unclear) == len(found.by_input):
        return []
    removable = {*config.data.past, *config.data.known, *config.data.static}
    named = [one.name for one in unclear if one.is_useless and one.name in removable]
    advice = f"Leave {listed(named)} out, one at a time: an input that adds nothing can still break." if named else ""
    said = [f"{one.name} ({_sized(one)})" for one in sorted(unclear, key=lambda one: one.increase)]
    more = [f"{len(said) - SAID} more"] if len(said) > SAID else []
    text = f"Without these nothing is lost that could be told from chance: {listed(said[:SAID] + more)}."
    return [Finding(severity="advice" if named else "info", text=text, advice=advice)]


def _by_lag(found: Importances, question: Question, config: Config) -> list[Finding]:
    if len(found.by_lag) < 2:
        return []
    most, oldest = max(found.by_lag, key=lambda one: one.increase), found.by_lag[-1]
    if not most.is_clear:
        return [Finding(severity="info", text="No single stretch of the past matters clearly.")]
    text = f"Of the past the stretch '{most.name}' matters most ({_sized(most)} without it)"
    if found.tail is None:
        more = "" if most is oldest else f"; the oldest, '{oldest.name}', is worth {_sized(oldest)}"
        return [Finding(severity="info", text=f"{text}{more}.")]
    first, rest = found.tail
    text += f"; everything before '{found.by_lag[first - 1].name}' together is worth {_sized(rest)}."
    advice = ""
    if config.task == "forecast" and not config.window.lags:
        steps = questions.stretch_edges(config.window)[first]
        advice = f"A window.history of {steps} may do as well as {config.window.history}, and trains faster: try it."
    return [Finding(severity="advice" if advice else "info", text=text, advice=advice)]


def _figures(found: Importances, question: Question) -> list[Figure]:
    ranked = sorted(found.by_input, key=lambda one: -one.increase)
    figures = []
    if ranked:
        left = f" The {len(ranked) - SHOWN} least are left out." if len(ranked) > SHOWN else ""
        caption = (
            f"How much the {question.metric} rises where {ranked[0].name} ({_sized(ranked[0])}) or another input is another "
            f"{question.things[:-1]}'s, {found.num:,} {question.things} of the validation part, {_WHISKERS}.{left}"
        )
        figures.append(_bars("importance-input", "What it relies on, by input", caption, ranked[:SHOWN], question))
    if len(found.by_lag) > 1:
        most = max(found.by_lag, key=lambda one: one.increase)
        caption = (
            f"The same for stretches of the past, all inputs of a stretch at once: '{most.name}' matters most "
            f"({_sized(most)}), '{found.by_lag[-1].name}' is worth {_sized(found.by_lag[-1])}."
        )
        figures.append(_bars("importance-lag", "What it relies on, by age", caption, found.by_lag, question))
    if found.by_both.size:
        row, column = divmod(int(found.by_both.argmax()), found.by_both.shape[1])
        names, ages = [one.name for one in question.history], [one.name for one in found.by_lag]
        caption = (
            f"Rise of the {question.metric} in percent by input and age, one input of one stretch at a time: most from "
            f"{names[row]}, '{ages[column]}' (+{percent(float(found.by_both[row, column]))})."
        )
        values = 100 * found.by_both
        figures.append(heatmap("importance-both", "By input and age", caption, ages, names, values))
    return figures


_WHISKERS = "with 95 % intervals"


def _bars(id: str, title: str, caption: str, shown: Sequence[Importance], question: Question) -> Figure:
    """Bars from the top down, with the interval of each."""
    bar: dict[str, Any] = {"type": "bar", "orientation": "h", "y": [one.name for one in shown]}
    bar["x"] = plain([100 * one.increase for one in shown])
    bar["error_x"] = {"type": "data", "array": plain([100 * one.reach for one in shown])}
    axis = {"title": {"text": f"rise of the {question.metric} without it, %"}}
    return Figure(id=id, title=title, caption=caption, traces=[bar], layout={"xaxis": axis})


def _said(one: Importance, question: Question) -> str:
    own = any(given.role == "target" and given.name == one.name for given in question.inputs)
    return f"{one.name}'s own past" if own else one.name


def _sized(one: Importance) -> str:
    sign = "+" if one.increase >= 0 else "-"
    size = percent(abs(one.increase))
    return f"{sign}{size} ± {percent(one.reach)}" if one.reach else f"{sign}{size}"
