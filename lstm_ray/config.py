"""A complete run as one frozen model: its sections, and what they must agree on. Opens no data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError, model_validator

from lstm_ray.errors import InputError, nearest
from lstm_ray.sections import (
    CLASS_LOSSES,
    FORECAST_LOSSES,
    DataConfig,
    DeployConfig,
    EvaluateConfig,
    ExploreConfig,
    ModelConfig,
    PlanConfig,
    PreprocessConfig,
    ScenarioConfig,
    Section,
    SpaceConfig,
    SplitConfig,
    TrainConfig,
    TuneConfig,
    WindowConfig,
)


class Config(Section):
    """A complete run."""

    name: str = Field(
        min_length=1, description="name of the run; its directory is runs/NAME unless --run-dir says otherwise"
    )
    task: Literal["forecast", "classify"] = Field(default="forecast", description="what is learned")
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

    @model_validator(mode="after")
    def _agrees_with_its_task(self) -> Config:
        data, model = self.data, self.model
        if self.task == "forecast":
            if data.is_ts:
                raise ValueError("data.source names .ts files, which hold sequences to classify; set task: classify")
            if not data.target and not data.awaits_roles:
                raise ValueError("data.target is empty; task 'forecast' needs at least one target column")
            if data.label:
                raise ValueError(f"data.label is '{data.label}', but task 'forecast' has no label; set task: classify")
            if model.bidirectional:
                raise ValueError(
                    "model.bidirectional is true, but a forecast is learned at every origin and reading backwards "
                    "would show it the future; set it to false (task 'classify' may use it)"
                )
        else:
            if data.layout == "wide":
                raise ValueError("data.layout is wide, which has no labels; task 'classify' needs long or .ts files")
            if self.preprocess.transform == "log":
                raise ValueError(
                    f"preprocess.transform is {self.preprocess.transform}, but there is no target; remove it"
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
            if data.past and any(s.column not in data.past for s in self.plan.scenarios):
                raise ValueError("plan.scenarios may change data.past columns alone in task 'classify'")
        if self.task == "forecast" and (self.plan.steps or self.window.horizon) < self.window.horizon:
            raise ValueError(
                f"plan.steps {self.plan.steps} is shorter than window.horizon {self.window.horizon}, so a rollout would "
                "hold no window to learn from; raise it or leave it out"
            )
        if self.preprocess.transform == "log" and (
            model.output != "identity" or model.distribution == "negative_binomial"
        ):
            found = (
                f"model.output {model.output}" if model.output != "identity" else "model.distribution negative_binomial"
            )
            raise ValueError(
                f"{found} is meant in the target's own units, but preprocess.transform log learns logarithms, whose forecasts "
                "never fall below 0; use one of them"
            )
        if (steps := model.normalisation_steps) is not None and steps > self.window.history:
            raise ValueError(f"model.normalisation_steps {steps} exceeds window.history {self.window.history}")
        return self

    @model_validator(mode="after")
    def _loss_fits_what_is_learned(self) -> Config:
        model, train, loss = self.model, self.train, self.train.loss
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

    @model_validator(mode="after")
    def _sequences_can_be_read_as_asked(self) -> Config:
        steps, patch = self.train.truncate_steps, self.window.patch
        if self.task == "classify" and (steps or self.window.stride > 1):
            name, found = ("train.truncate_steps", steps) if steps else ("window.stride", self.window.stride)
            raise ValueError(f"{name} is {found}, but task 'classify' reads whole sequences; remove it")
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
        if own_test and (split.test is not None or split.gap_steps or not isinstance(split.train, float)):
            raise ValueError(
                f"split is {split.model_dump(exclude_defaults=True)}, but the second .ts file is the test part: give "
                "train and validation as fractions of the first file, and neither test nor gap_steps"
            )
        if not own_test and split.test is None and isinstance(split.train, float) and total >= 1:
            raise ValueError(
                f"split: the parts add up to {total:g} of the data and leave nothing to test on; lower them"
            )
        return self

    @model_validator(mode="after")
    def _scenarios_and_space_name_what_exists(self) -> Config:
        changeable = [*self.data.target, *self.data.past, *self.data.known]
        names = [scenario.name for scenario in self.plan.scenarios]
        if twice := {name for name in names if names.count(name) > 1 or name == "base"}:
            raise ValueError(f"plan.scenarios: name {sorted(twice)} is taken ('base' is the unchanged future); rename")
        for scenario in self.plan.scenarios:
            if scenario.column not in changeable and (changeable or not self.data.awaits_roles):
                hint = nearest(scenario.column, changeable)
                raise ValueError(f"plan.scenarios '{scenario.name}': column '{scenario.column}' has no role here{hint}")
        tunable = {f"{part}.{field}" for part in ("model", "train") for field in type(getattr(self, part)).model_fields}
        for path, space in self.tune.space.items():
            if path not in tunable:
                raise ValueError(f"tune.space: '{path}' is no field that can be tuned{nearest(path, tunable)}")
            section, field = path.split(".")
            for value in space.choice or space.uniform or space.loguniform or ():
                try:
                    getattr(self, section).__class__.model_validate({field: value})
                except ValidationError as error:
                    reason = error.errors()[0]["msg"]
                    raise ValueError(f"tune.space '{path}': {value!r} is not allowed there: {reason}") from None
        return self

    @property
    def loss(self) -> str:
        """The loss that is minimised, with the task's default filled in."""
        if self.task == "classify":
            return self.train.loss or "cross_entropy"
        if self.model.distribution:
            return "likelihood"
        return "pinball" if self.model.quantiles else self.train.loss or "mae"


def parse(tree: Mapping[str, Any]) -> Config:
    """Validate a tree of plain values. Raises InputError, one line for each fault."""
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        raise InputError("\n".join(_explain(item) for item in error.errors(include_url=False))) from None


def with_values(config: Config, values: Mapping[str, Any]) -> Config:
    """The same config with some ``section.field`` values replaced, validated anew."""
    tree = config.model_dump()
    for path, value in values.items():
        section, field = path.split(".")
        tree[section][field] = value
    return parse(tree)


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
    return f"{path}: {message}, found {item['input']!r}"


def _fields_at(location: Sequence[int | str]) -> list[str]:
    section: type[BaseModel] = Config
    for part in location:
        annotation = section.model_fields[str(part)].annotation if str(part) in section.model_fields else None
        if annotation == list[ScenarioConfig]:
            section = ScenarioConfig
        elif annotation == dict[str, SpaceConfig]:
            section = SpaceConfig
        elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
            section = annotation
    return list(section.model_fields)
