"""A complete run as one frozen model: its sections, and what they must agree on. Opens no data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import getitem
from typing import Any, Literal, get_args

from pydantic import BaseModel, Field, ValidationError, model_validator

from lstm_ray.errors import InputError, nearest
from lstm_ray.sections import scenario
from lstm_ray.sections.base import Section
from lstm_ray.sections.data import DataConfig
from lstm_ray.sections.decision import require_agreement
from lstm_ray.sections.deploy import DeployConfig
from lstm_ray.sections.evaluate import EvaluateConfig
from lstm_ray.sections.model import ModelConfig
from lstm_ray.sections.operate import MonitorConfig, RetrainConfig, StressConfig
from lstm_ray.sections.plan import PlanConfig
from lstm_ray.sections.prepare import ExploreConfig, PreprocessConfig, SplitConfig, WindowConfig
from lstm_ray.sections.privacy import require_private, with_private_defaults
from lstm_ray.sections.resources import ResourcesConfig
from lstm_ray.sections.space import require_space
from lstm_ray.sections.train import CLASS_LOSSES, FORECAST_LOSSES, TrainConfig
from lstm_ray.sections.tune import TuneConfig

KINDS = ("float", "str", "int", "bool")
"""What pydantic adds to the place of a fault where a value may be of several kinds."""

MOST_FAULTS, MOST_SHOWN = 50, 200
"""Faults that are told at once, and characters of a wrong value that each shows."""


class Config(Section):
    """A complete run."""

    name: str = Field(
        min_length=1, description="name of the run; its directory is runs/NAME unless --run-dir says otherwise"
    )
    task: Literal["forecast", "classify", "label"] = Field(
        default="forecast", description="what is learned: futures, a class for each sequence, or a label for each step"
    )
    seed: int = Field(default=7, ge=0, description="seed of every random choice")
    data: DataConfig
    explore: ExploreConfig = ExploreConfig()
    preprocess: PreprocessConfig = PreprocessConfig()
    split: SplitConfig = SplitConfig()
    window: WindowConfig = WindowConfig()
    model: ModelConfig = ModelConfig()
    train: TrainConfig = TrainConfig()
    plan: PlanConfig = PlanConfig()
    tune: TuneConfig = TuneConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    deploy: DeployConfig = DeployConfig()
    monitor: MonitorConfig = MonitorConfig()
    retrain: RetrainConfig = RetrainConfig()
    stress: StressConfig = StressConfig()
    resources: ResourcesConfig = ResourcesConfig()

    @model_validator(mode="after")
    def _agrees_with_its_task(self) -> Config:
        data, model = self.data, self.model
        if self.task == "forecast":
            if data.is_ts:
                raise ValueError("data.source names .ts files, which hold sequences to classify; set task: classify")
            if not data.target and not data.awaits_roles:
                raise ValueError("data.target is empty; task 'forecast' needs at least one target column")
            if data.label:
                raise ValueError(
                    f"data.label is '{data.label}', but task 'forecast' has no label; set task: classify (one for a whole "
                    "sequence) or task: label (one for each step)"
                )
            if model.bidirectional:
                raise ValueError(
                    "model.bidirectional is true, but a forecast is learned at every origin and reading backwards "
                    "would show it the future; set it to false (tasks 'classify' and 'label' may use it)"
                )
        elif self.task == "classify":
            if data.label_kind == "value":
                raise ValueError("data.label_kind is value, but task 'classify' tells classes; remove it")
            if data.layout != "long":
                raise ValueError(
                    f"data.layout is {data.layout}, which has no labels; task 'classify' needs long or .ts files"
                )
            if not data.label and not data.awaits_roles:
                raise ValueError("data.label is missing; task 'classify' needs the column that holds the class")
            if data.target or data.known or data.static or data.categorical:
                raise ValueError("task 'classify' reads data.past alone; move target, known and static columns there")
            if not data.past and not data.awaits_roles:
                raise ValueError("data.past is empty; task 'classify' needs at least one input column")
            if not data.series_id and not data.awaits_roles:
                raise ValueError("data.series_id is empty; task 'classify' needs the columns that name a sequence")
            if model.quantiles:
                raise ValueError("model.quantiles is set, but a class has no quantiles; remove it")
            if model.distribution or model.output != "identity":
                found = f"distribution is {model.distribution}" if model.distribution else f"output is {model.output}"
                raise ValueError(f"model.{found}, but task 'classify' answers by probabilities of classes; remove it")
        if self.task == "forecast" and (self.plan.steps or self.window.horizon) < self.window.horizon:
            raise ValueError(
                f"plan.steps {self.plan.steps} is shorter than window.horizon {self.window.horizon}, so a rollout would "
                "hold no window to learn from; raise it or leave it out"
            )
        if (steps := model.normalisation_steps) is not None and steps > self.window.history:
            raise ValueError(f"model.normalisation_steps {steps} exceeds window.history {self.window.history}")
        return self

    @model_validator(mode="after")
    def _targets_can_be_learned_as_asked(self) -> Config:
        prepare, model = self.preprocess, self.model
        asked: dict[str, str] = {"transform": prepare.transform} if prepare.transform not in ("auto", "none") else {}
        asked |= {"scale_by": "series"} if prepare.scale_by == "series" else {}
        own = f"model.output {model.output}" if model.output != "identity" else ""
        own = "model.distribution negative_binomial" if model.distribution == "negative_binomial" else own
        for name, value in asked.items():
            if self.task != "forecast":
                raise ValueError(
                    f"preprocess.{name} is {value}, which is of targets, but task '{self.task}' has no target; remove it"
                )
            if own and name == "scale_by":
                raise ValueError(
                    f"{own} is meant in the target's own units, which lie elsewhere in each series' under preprocess.scale_by "
                    "series; use one of them"
                )
            if own:
                raise ValueError(
                    f"{own} is meant in the target's own units, but preprocess.transform {value} learns others"
                    f"{', whose forecasts never fall below 0' if value == 'log' else ''}; use one of them"
                )
        return self

    @model_validator(mode="after")
    def _earlier_targets_can_be_read(self) -> Config:
        lags, steps, history = self.window.lags, self.model.difference, self.window.history
        if self.task != "forecast" and (lags or steps):
            name, found = ("window.lags", lags) if lags else ("model.difference", steps)
            raise ValueError(f"{name} is {found}, but task '{self.task}' has no target; remove it")
        if steps and self.model.distribution:
            raise ValueError(
                f"model.difference is {steps}, but the sum of changes under model.distribution {self.model.distribution} has "
                "no distribution of that kind; use model.quantiles, which are learned for the sums, or remove one"
            )
        if steps and steps >= history:
            raise ValueError(
                f"model.difference {steps} leaves no change to read in window.history {history}; lengthen the history beyond "
                "it"
            )
        return self

    @model_validator(mode="after")
    def _something_is_read_of_a_second_table(self) -> Config:
        data = self.data
        if data.static_source and not (data.static or data.categorical or self.split.group):
            raise ValueError(
                f"data.static_source is {data.static_source}, but no column of it is named in data.static, data.categorical or "
                "split.group; name one or remove it"
            )
        return self

    @model_validator(mode="after")
    def _a_label_for_every_step_can_be_told(self) -> Config:
        data, model, augment = self.data, self.model, self.train.augment
        if self.task != "label":
            return self
        if data.is_ts or data.layout != "long":
            what = (
                "names .ts files, which hold a class for each sequence"
                if data.is_ts
                else f"is {data.layout}, without labels"
            )
            raise ValueError(f"data.{'source' if data.is_ts else 'layout'} {what}; task 'label' needs a long table")
        if not data.label:
            raise ValueError(
                "data.label is missing; task 'label' needs the column that holds a class or value per step"
            )
        if data.target:
            raise ValueError(
                f"data.target is {data.target}, but task 'label' learns data.label; move these columns to data.past, or "
                "leave out what is not known when a label is asked for"
            )
        if not data.past:
            raise ValueError("data.past is empty; task 'label' needs at least one input column")
        for name, unused, why in (
            ("quantiles", bool(model.quantiles), "a label is one class or value, without quantiles"),
            ("distribution", bool(model.distribution), "a label is one class or value, without a distribution"),
            ("output", model.output != "identity", "it bounds forecasts"),
            ("normalisation", model.normalisation not in ("auto", "none"), "it takes the level out of a target"),
            ("normalisation_steps", model.normalisation_steps is not None, "it takes the level out of a target"),
            ("linear", model.linear in ("trained", "residual"), "it maps a target's history to its future"),
            ("channels", model.channels == "joint", "it tells how targets are read; inputs are always read together"),
            ("pooling", model.pooling != "max", "it sums up a whole sequence, and here each step is told"),
        ):
            if unused:
                raise ValueError(f"model.{name} is {getattr(model, name)}, but task 'label' has no use for it: {why}")
        for name in ("time_warp", "window_slice", "mixup"):
            if getattr(augment, name):
                raise ValueError(
                    f"train.augment.{name} is {getattr(augment, name)}, but task 'label' has a label at every step, which "
                    "would no longer be that of the step it lies on; use jitter, scaling, magnitude_warp or masking"
                )
        return self

    @model_validator(mode="after")
    def _loss_fits_what_is_learned(self) -> Config:
        model, train, loss = self.model, self.train, self.train.loss
        if self.task == "label":
            return self._loss_fits_labels()
        if self.task == "classify":
            if loss in FORECAST_LOSSES:
                raise ValueError(
                    f"train.loss is {loss}, but task 'classify' learns by {' or '.join(CLASS_LOSSES)}; remove it"
                )
            return self
        if loss in CLASS_LOSSES:
            raise ValueError(f"train.loss is {loss}, which needs task: classify; use {', '.join(FORECAST_LOSSES)}")
        if train.class_weights != "none":
            raise ValueError(
                f"train.class_weights is {train.class_weights}, but task 'forecast' has no classes; remove it"
            )
        if model.distribution and loss is not None:
            raise ValueError(
                f"train.loss is {loss}, but model.distribution is learned by its likelihood; remove one of them"
            )
        if model.quantiles and loss not in (None, "mae"):
            raise ValueError(f"train.loss is {loss}, but model.quantiles are learned by pinball loss; remove one")
        return self

    def _loss_fits_labels(self) -> Config:
        """What a label is is known once the source was opened, where data.label_kind leaves it open."""
        kind, loss, weights = self.data.label_kind, self.train.loss, self.train.class_weights
        fitting = {"class": CLASS_LOSSES, "value": FORECAST_LOSSES}.get(kind, (*CLASS_LOSSES, *FORECAST_LOSSES))
        if loss in (*CLASS_LOSSES, *FORECAST_LOSSES) and loss not in fitting:
            raise ValueError(
                f"train.loss is {loss}, but the labels are of kind '{kind}', learned by {' or '.join(fitting)}; remove it, "
                "or set data.label_kind"
            )
        if kind == "value" and weights != "none":
            raise ValueError(f"train.class_weights is {weights}, but the labels are values, without classes; remove it")
        return self

    @model_validator(mode="after")
    def _sequences_can_be_read_as_asked(self) -> Config:
        steps, patch = self.train.truncate_steps, self.window.patch
        if self.task != "forecast" and (steps or self.window.stride > 1):
            name, found = ("train.truncate_steps", steps) if steps else ("window.stride", self.window.stride)
            how = "reads whole sequences" if self.task == "classify" else "teaches every step once, in whole sequences"
            raise ValueError(f"{name} is {found}, but task '{self.task}' {how}; remove it")
        if steps and steps % patch:
            nearby = max(patch, round(steps / patch) * patch)
            raise ValueError(f"train.truncate_steps {steps} is no multiple of window.patch {patch}; set it to {nearby}")
        if steps and self.model.attention:
            raise ValueError(
                f"train.truncate_steps is {steps}, but model.attention looks back over the whole sequence at once, which "
                "cannot be read in parts; remove one of them"
            )
        return self

    @model_validator(mode="after")
    def _split_leaves_a_test_part(self) -> Config:
        split, own_test = self.split, self.data.has_own_test
        total = sum(part for part in (split.train, split.validation) if part is not None)
        own_way = (
            split.test is not None or split.gap_steps or split.validation_from or split.until or split.by != "time"
        )
        if own_test and (own_way or not isinstance(split.train, float)):
            raise ValueError(
                f"split is {split.model_dump(exclude_defaults=True)}, but the second .ts file is the test part: give "
                "train and validation as fractions of the first file, and neither test nor gap_steps, dates or by"
            )
        if not own_test and split.test is None and isinstance(split.train, float) and total >= 1:
            raise ValueError(
                f"split: the parts add up to {total:g} of the data and leave nothing to test on; lower them"
            )
        return self

    @model_validator(mode="after")
    def _dealt_series_leave_the_name_of_their_part_free(self) -> Config:
        if self.split.by != "time" and "part" in self.data.columns:
            raise ValueError(
                f"column 'part' has a name that segments use where split.by is {self.split.by}; rename it in the source"
            )
        return self

    @model_validator(mode="after")
    def _space_holds_what_can_be_tuned(self) -> Config:
        require_space(self.tune)
        return self

    @model_validator(mode="after")
    def _scenarios_are_about_the_data(self) -> Config:
        plan, steps = self.plan, self.plan.steps or 2 * self.window.horizon
        scenario.require_agreement(plan.scenarios, plan.thresholds, self.task, self.data, steps)
        return self

    @model_validator(mode="after")
    def _a_decision_is_about_the_data(self) -> Config:
        if self.plan.decision is not None:
            require_agreement(self.plan.decision, self.task, self.data, self.window.horizon)
        return self

    @model_validator(mode="after")
    def _synthetic_sequences_can_be_made(self) -> Config:
        if self.plan.synthetic is not None:
            self.plan.synthetic.require_fit(self.task, self.window.season)
        return self

    @model_validator(mode="after")
    def _a_backtest_has_stretches_of_time(self) -> Config:
        if self.evaluate.backtest is None:
            return self
        if self.split.by != "time":
            raise ValueError(
                f"evaluate.backtest judges one stretch of time after another, but split.by {self.split.by} deals whole series "
                "to the parts; set split.by: time, or remove evaluate.backtest"
            )
        if self.data.is_ts:
            raise ValueError(
                "evaluate.backtest judges one stretch of time after another, but cases of .ts files have no times; remove it"
            )
        return self

    @model_validator(mode="before")
    @classmethod
    def _what_is_left_open_is_private(cls, tree: Any) -> Any:
        return with_private_defaults(tree)

    @model_validator(mode="after")
    def _nothing_escapes_privacy(self) -> Config:
        require_private(self.task, self.train, self.model, self.plan)
        return self

    @model_validator(mode="after")
    def _groups_are_constant_in_a_series(self) -> Config:
        data, groups = self.data, self.evaluate.groups
        constant = [*data.series_id, *data.static, *data.categorical]
        for name in groups:
            if name in constant:
                continue
            moving = [*data.target, *data.past, *data.known, data.label, data.weight, data.time]
            why = (
                "changes within a series"
                if name in moving
                else f"has no role that is constant in a series{nearest(name, constant)}"
            )
            raise ValueError(
                f"evaluate.groups: '{name}' {why}; name columns of data.series_id, static or categorical, which are "
                f"{', '.join(constant) or 'none'}"
            )
        if len(set(groups)) < len(groups):
            raise ValueError(f"evaluate.groups names a column twice: {groups}; name each once")
        return self

    @property
    def answers(self) -> Literal["classes", "values"]:
        """What the policy tells: probabilities of classes, or numbers."""
        if self.task == "label":
            assert self.data.label_kind != "auto", "files.resolved() says what the labels are"
            return "classes" if self.data.label_kind == "class" else "values"
        return "classes" if self.task == "classify" else "values"

    @property
    def loss(self) -> str:
        """The loss that is minimised, with the task's default filled in."""
        if self.answers == "classes":
            return self.train.loss or "cross_entropy"
        if self.model.distribution:
            return "likelihood"
        return "pinball" if self.model.quantiles else self.train.loss or "mae"


def parse(tree: Mapping[str, Any]) -> Config:
    """Validate a tree of plain values. Raises InputError, one line for each fault."""
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        faults = _told_once(error)
        lines = [_explain(item) for item in faults[:MOST_FAULTS]]
        more = [f"and {len(faults) - MOST_FAULTS:,} more faults"] if len(faults) > MOST_FAULTS else []
        raise InputError("\n".join([*lines, *more])) from None


def with_values(config: Config, values: Mapping[str, Any]) -> Config:
    """The same config with some ``section.field`` values replaced, validated anew."""
    tree = config.model_dump()
    for path, value in values.items():
        *sections, field = path.split(".")
        reduce(getitem, sections, tree)[field] = value
    return parse(tree)


def _told_once(error: ValidationError) -> list[Mapping[str, Any]]:
    """Its faults; what may be of several kinds and is of none has one fault, the first kind's, not one for each kind."""
    found: dict[tuple[int | str, ...], Mapping[str, Any]] = {}
    for item in error.errors(include_url=False):
        where = item["loc"][:-1] if item["loc"] and item["loc"][-1] in KINDS else item["loc"]
        found.setdefault(where, {**item, "loc": where})
    return list(found.values())


def _explain(item: Mapping[str, Any]) -> str:
    """One fault as ``section.field: what, found, fix``."""
    path = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        return f"{path}: unknown key{nearest(str(item['loc'][-1]), _fields_at(item['loc'][:-1]))}"
    message = str(item["msg"]).removeprefix("Value error, ")
    if item["type"] == "missing":
        return f"{path}: missing; add it to the YAML"
    if item["type"] == "value_error":
        return f"{path}: {message}" if path else message
    if item["type"] == "model_type":
        return (
            f"{path}: a section with fields of its own, found {_shown(item['input'])}; write them below it, one a line"
        )
    return f"{path}: {message}, found {_shown(item['input'])}"


def _shown(value: Any) -> str:
    """As it was found, the beginning of what is long."""
    try:
        words = repr(value)
    except (ValueError, RecursionError) as error:  # ValueError: an integer of too many digits
        return f"{type(value).__name__} that cannot be written ({error})"
    return words if len(words) <= MOST_SHOWN else f"{words[:MOST_SHOWN]} ..."


def _fields_at(location: Sequence[int | str]) -> list[str]:
    section: type[BaseModel] = Config
    for part in location:
        if str(part) in section.model_fields:
            section = _section_in(section.model_fields[str(part)].annotation) or section
    return list(section.model_fields)


def _section_in(annotation: Any) -> type[BaseModel] | None:
    """The section that a field holds: itself, or where it is a list, a mapping or may be none."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for inner in get_args(annotation) if (found := _section_in(inner))), None)
