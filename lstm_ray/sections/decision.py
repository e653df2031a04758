"""The section of decisions: what may be set, within which constraints, and what it should cost least."""

from __future__ import annotations

from math import ceil, floor
from typing import Literal

from pydantic import Field, model_validator

from lstm_ray.errors import nearest
from lstm_ray.sections.base import Fraction, Section
from lstm_ray.sections.data import DataConfig
from lstm_ray.sections.train import OWN_LOSS

TOLERANCE = 1e-9
"""Share of a grid step or of a range that rounding may take."""
USED: dict[str, tuple[set[str], set[str]]] = {
    "cost": ({"price"}, {"column"}),
    "threshold": (set(), {"column", "above", "below"}),
    "track": ({"reference"}, {"column"}),
    "newsvendor": ({"supply", "over", "under"}, {"column"}),
    "own": ({"function"}, set()),
}
"""Fields that a term of each kind must have, and those that it may have besides."""
OF_THE_CALENDAR = ("hour", "weekday", "month", "holiday")
"""What calendar columns are of."""


class SumConfig(Section):
    """Bounds of an action's sum, over every ``steps`` steps counted from the first one planned."""

    steps: int = Field(gt=0, description="steps of one sum, such as 24 for a day of hours")
    low: float | None = Field(default=None, description="least sum")
    high: float | None = Field(default=None, description="largest sum")
    keep: bool = Field(
        default=False,
        description="the sum that the data holds (with step, the nearest that it allows), so that only its division over "
        "the steps changes",
    )

    @model_validator(mode="after")
    def _says_one_thing(self) -> SumConfig:
        if self.keep == (self.low is not None or self.high is not None):
            found = f"low {self.low}, high {self.high}, keep {str(self.keep).lower()}"
            raise ValueError(f"sum has {found}; give low or high or both, or keep: true alone")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"sum: low {self.low:g} exceeds high {self.high:g}; exchange them")
        return self


class ActionConfig(Section):
    """A quantity that the planner sets, at every step ahead."""

    name: str = Field(
        description="a data.known column, which the policy then reads as planned; or a name of its own, which the objective "
        "alone sees (such as what is ordered)"
    )
    low: float = Field(description="least value")
    high: float = Field(description="largest value")
    step: float | None = Field(default=None, gt=0, description="values are low plus a multiple of this; none: any")
    within: float | None = Field(
        default=None,
        gt=0,
        description="largest distance from what the data holds at that step (the plan of doing nothing; with every, on average "
        "over the steps that share a value), as a share of it: with 0.2, 20 may become 16 to 24, and 0 stays 0; none: low and "
        "high alone (known columns)",
    )
    every: int = Field(default=1, gt=0, description="steps for which a value holds")
    max_change: float | None = Field(
        default=None,
        gt=0,
        description="largest change from one value to the next; the first may be any",
    )
    sum: SumConfig | None = Field(default=None, description="bounds of sums over time")

    @property
    def top(self) -> float:
        """The largest value that the grid of steps reaches."""
        return self.high if self.step is None else self.low + self.step * self.num_grid

    @property
    def num_grid(self) -> int:
        """Steps of the grid from the least value to the largest."""
        assert self.step is not None, "there is no grid"
        return floor((self.high - self.low) / self.step + TOLERANCE)

    @property
    def change(self) -> float | None:
        """The largest change that the grid of steps allows."""
        if self.step is None or self.max_change is None:
            return self.max_change
        return self.step * floor(self.max_change / self.step + TOLERANCE)

    @model_validator(mode="after")
    def _has_room_to_move(self) -> ActionConfig:
        where = f"action '{self.name}'"
        if not self.name.strip():
            raise ValueError("an action has an empty name; name a data.known column, or what is set")
        if self.low >= self.high:
            raise ValueError(f"{where}: low {self.low:g} is not below high {self.high:g}; leave room to choose")
        if self.step is not None and not self.num_grid:
            raise ValueError(
                f"{where}: step {self.step:g} exceeds high - low, {self.high - self.low:g}; make it smaller"
            )
        if self.change == 0:
            raise ValueError(
                f"{where}: max_change {self.max_change:g} is less than step {self.step:g}, so no value could ever change; "
                "raise it"
            )
        return self

    @model_validator(mode="after")
    def _sums_can_be_reached(self) -> ActionConfig:
        """By one value held throughout, or two neighbours on the grid: so no max_change is in the way."""
        if self.sum is None:
            return self
        where, steps = f"action '{self.name}'", self.sum.steps
        if steps % self.every:
            raise ValueError(
                f"{where}: sum.steps {steps} is no multiple of every {self.every}, so a value would count in two sums; "
                "change one"
            )
        least, most = steps * self.low, steps * self.top
        low, high = self.sum.low, self.sum.high
        if low is not None and low > most + TOLERANCE * abs(most):
            raise ValueError(
                f"{where}: sum.low {low:g} cannot be reached: {steps} steps of at most {self.top:g} add up to {most:g}; "
                "lower it, or raise high"
            )
        if high is not None and high < least - TOLERANCE * abs(least):
            raise ValueError(
                f"{where}: sum.high {high:g} cannot be kept: {steps} steps of at least {self.low:g} add up to {least:g}; "
                "raise it, or lower low"
            )
        if self.step is not None and low is not None and high is not None:
            apart = self.step * self.every
            reached = least + apart * ceil((low - least) / apart - TOLERANCE)
            if reached > high + TOLERANCE * apart:
                raise ValueError(
                    f"{where}: no sum between {low:g} and {high:g} can be reached in steps of {apart:g} from {least:g}: "
                    f"the nearest are {reached - apart:g} and {reached:g}; widen sum.low and sum.high, or make step smaller"
                )
        return self


class TermConfig(Section):
    """One term of the objective; its value is added over the steps ahead, in the units of weight times the column's."""

    kind: Literal["cost", "threshold", "track", "newsvendor", "own"] = Field(
        description="cost: price times the column; threshold: what lies above or below a level; track: squared distance from a "
        "reference; newsvendor: over-supply and under-supply of a target by an action; own: a function of yours"
    )
    column: str | None = Field(default=None, description="target or action that is judged; none: the first target")
    weight: float = Field(default=1.0, ge=0, description="factor of the term")
    price: float | str | None = Field(
        default=None, description="cost: price per unit, or the known column that holds it"
    )
    above: float | None = Field(default=None, description="threshold: what lies above this counts")
    below: float | None = Field(default=None, description="threshold: what lies below this counts")
    reference: float | str | None = Field(
        default=None, description="track: the value wanted, or the known column of it"
    )
    supply: str | None = Field(default=None, description="newsvendor: the action that meets the column's demand")
    over: float | None = Field(default=None, ge=0, description="newsvendor: cost of a unit too much")
    under: float | None = Field(default=None, ge=0, description="newsvendor: cost of a unit too little")
    function: str | None = Field(
        default=None,
        description="own: package.module:function(futures_WSC, actions_SA, known_SK) -> cost of each path [W]",
    )

    @model_validator(mode="after")
    def _has_what_its_kind_needs(self) -> TermConfig:
        needed, optional = USED[self.kind]
        given = {name for name in TermConfig.model_fields if getattr(self, name) is not None} - {"kind", "weight"}
        if missing := sorted(needed - given):
            raise ValueError(f"term '{self.kind}' lacks {', '.join(missing)}; add it")
        if unused := sorted(given - needed - optional):
            raise ValueError(f"term '{self.kind}' has no use for {', '.join(unused)}; remove it")
        if self.kind == "threshold" and self.above is None and self.below is None:
            raise ValueError("term 'threshold' has neither above nor below; give the level that costs beyond it")
        if self.above is not None and self.below is not None and self.below > self.above:
            raise ValueError(f"term 'threshold': below {self.below:g} exceeds above {self.above:g}; exchange them")
        if self.over == self.under == 0:
            raise ValueError("term 'newsvendor': over and under are both 0, so any supply would do; price one of them")
        if self.function is not None and not OWN_LOSS.fullmatch(self.function):
            raise ValueError(f"term 'own': function '{self.function}' is no package.module:function; write it so")
        return self

    @property
    def words(self) -> str:
        """The term in errors and tables."""
        judged = self.function if self.kind == "own" else self.column
        return f"{self.kind}{f' of {judged}' if judged else ''}"


class DecisionConfig(Section):
    """What is decided, what it should cost least, and how long to search."""

    actions: list[ActionConfig] = Field(min_length=1, description="what the planner sets")
    objective: list[TermConfig] = Field(min_length=1, description="terms whose sum is made small")
    cvar: Fraction | None = Field(
        default=None,
        description="judge by the mean of this worst share of paths (conditional value at risk); none: by the mean of all",
    )
    steps: int | None = Field(default=None, gt=0, description="steps planned; none: window.horizon")
    origins: int = Field(default=4, gt=0, description="moments of the validation part that are planned for")
    candidates: int = Field(default=64, gt=1, description="action sequences tried in each round of the search")
    rounds: int = Field(default=30, gt=0, description="rounds of the cross-entropy method")
    elites: Fraction = Field(default=0.15, description="share of a round's sequences that the next is drawn about")
    paths: int = Field(default=32, gt=1, description="sampled futures that each sequence is judged on")

    @property
    def num_elites(self) -> int:
        """Sequences that the next round is drawn about."""
        return round(self.elites * self.candidates)

    @model_validator(mode="after")
    def _names_agree(self) -> DecisionConfig:
        names = [action.name for action in self.actions]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"action '{twice[0]}' is declared twice; rename or remove one")
        for term in self.objective:
            if term.supply is not None and term.supply not in names:
                raise ValueError(f"term 'newsvendor': supply '{term.supply}' is no action{nearest(term.supply, names)}")
            if term.supply is not None and term.column == term.supply:
                raise ValueError(f"term 'newsvendor': column and supply are both '{term.supply}'; column is the demand")
        if all(term.weight == 0 for term in self.objective):
            raise ValueError("every term of the objective has weight 0, so any plan would do; weigh one of them")
        return self

    @model_validator(mode="after")
    def _search_has_what_it_needs(self) -> DecisionConfig:
        if self.num_elites < 2:
            raise ValueError(
                f"elites {self.elites:g} of candidates {self.candidates} are {self.num_elites}; raise one, so that at least 2 "
                "sequences tell where to search on"
            )
        if self.cvar is not None and self.cvar * self.paths < 1:
            raise ValueError(
                f"cvar {self.cvar:g} of paths {self.paths} is less than one path; raise paths to {ceil(1 / self.cvar)} or more"
            )
        return self


def require_agreement(decision: DecisionConfig, task: str, data: DataConfig, horizon: int) -> None:
    """Raises ValueError where a decision is not about the data: actions that cannot be set, terms of columns that are not
    there, sums that do not fit the steps planned."""
    if task != "forecast":
        raise ValueError(
            f"plan.decision is set, but task '{task}' foresees no future that actions could change; remove it"
        )
    steps, judged = (
        decision.steps or horizon,
        {name for term in decision.objective for name in (term.column, term.supply)},
    )
    sees_all = any(term.kind == "own" for term in decision.objective)
    for action in decision.actions:
        where = f"plan.decision: action '{action.name}'"
        fixed = {"target": data.target, "past": data.past, "static": data.static, "categorical": data.categorical}
        if role := next((role for role, names in fixed.items() if action.name in names), None):
            raise ValueError(
                f"{where} is a {role} column, which nobody sets ahead; name a data.known column, or a name of its own"
            )
        if action.name in (*data.series_id, data.time, data.weight):
            raise ValueError(f"{where} has the name of a column that says when or of what a row is; rename the action")
        if action.name in OF_THE_CALENDAR and action.name not in data.known:
            raise ValueError(f"{where} has the name of a calendar column, which nobody sets; rename it")
        if action.name not in data.known and action.name not in judged and not sees_all:
            raise ValueError(
                f"{where} is neither a data.known column nor judged by a term of the objective, so nothing would depend on it; "
                f"correct it or remove it{nearest(action.name, data.known).replace('; known', '; known columns')}"
            )
        if action.within is not None and action.name not in data.known:
            raise ValueError(
                f"{where}: within is {action.within:g}, but it is no data.known column, so the data has no plan to stay near; "
                "remove it"
            )
        if action.sum is not None and steps % action.sum.steps:
            raise ValueError(
                f"{where}: {steps} steps are planned, which are no whole number of sums over {action.sum.steps}; change "
                "sum.steps, or set plan.decision.steps"
            )
    names = [action.name for action in decision.actions]
    for term in decision.objective:
        where = f"plan.decision: term '{term.kind}'"
        columns = [*data.target, *names]
        if term.column is not None and term.column not in columns and not data.awaits_roles:
            raise ValueError(
                f"{where}: column '{term.column}' is neither a target nor an action{nearest(term.column, columns)}"
            )
        ahead = [*data.known, *data.static]
        for field, column in (("price", term.price), ("reference", term.reference)):
            if isinstance(column, str) and column not in ahead:
                raise ValueError(
                    f"{where}: {field} '{column}' is no data.known column, whose values ahead are known"
                    f"{nearest(column, ahead)}"
                )
