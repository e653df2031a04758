"""What a YAML may say, and what bad ones are told."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lstm_ray.config import Config, parse, with_values
from lstm_ray.config_file import load
from lstm_ray.data.preparing import segments
from lstm_ray.data.timeline import grid
from lstm_ray.errors import InputError, nearest
from lstm_ray.sections.data import RESERVED
from tests.made import config_tree

CONFIGS = sorted((Path(__file__).parents[1] / "configs").glob("*.yaml"))
DATES = {"split.validation_from": "2024-04-01", "split.test_from": "2024-05-01"}
PBT: dict[str, Any] = {"tune.scheduler": "pbt", "tune.space": {"train.learning_rate": {"choice": [0.01, 0.02]}}}
SCENARIO = {"name": "storm", "column": "wind", "operation": "shift", "value": 5}
CLASSIFY = {
    "task": "classify",
    "data.target": [],
    "data.label": "kind",
}

LABEL = {
    "task": "label",
    "data.target": [],
    "data.label": "state",
    "data.label_kind": "class",
    "model.normalisation": "auto",
    "model.pooling": "max",
}


def changed(changes: Mapping[str, Any]) -> dict[str, Any]:
    """The tree of a good config with dotted keys replaced."""
    tree = config_tree()
    for path, value in changes.items():
        *parents, last = path.split(".")
        inner: Any = tree
        for parent in parents:
            inner = inner.setdefault(parent, {})
        inner[last] = deepcopy(value)
    return tree


def complaint(changes: Mapping[str, Any]) -> str:
    with pytest.raises(InputError) as caught:
        parse(changed(changes))
    return str(caught.value)


MISSPELT: list[tuple[dict[str, Any], list[str]]] = [
    ({"trian": {}}, ["trian: unknown key", "did you mean 'train'"]),
    ({"train.learning_rat": 1}, ["train.learning_rat", "did you mean 'learning_rate'"]),
    ({"data.tagret": []}, ["data.tagret", "did you mean 'target'"]),
    ({"model.zzz": 1}, ["model.zzz", "known: attention, bidirectional"]),
    ({"plan.scenarios": [SCENARIO | {"valeu": 1}]}, ["plan.scenarios.0.valeu", "did you mean 'value'"]),
    ({"plan.scenarios": [SCENARIO | {"column": "wnd"}]}, ["'storm'", "'wnd'", "did you mean 'wind'"]),
    ({"tune.space": {"model.hiden": {"choice": [1]}}}, ["'model.hiden'", "did you mean 'model.hidden'"]),
    ({"tune.space": {"model.hidden": {"choise": [1]}}}, ["choise", "did you mean 'choice'"]),
    ({"tune.space": {"train.augment.jiter": {"choice": [1]}}}, ["did you mean 'train.augment.jitter'"]),
    ({"tune.space": {"split.train": {"choice": [0.5]}}}, ["'split.train' is no field that can be tuned"]),
]
CONTRADICTIONS: list[tuple[dict[str, Any], list[str]]] = [
    ({"window.history": 100, "window.patch": 24}, ["patch 24", "history 100", "set history to 96"]),
    ({"window.history": 3, "window.patch": 4}, ["patch 4", "history 3", "set history to 4"]),
    ({"model.bidirectional": True}, ["model.bidirectional is true", "set it to false"]),
    ({"model.quantiles": [0.1, 0.9]}, ["hold 0.5", "[0.1, 0.9]", "such as"]),
    ({"model.quantiles": [0.9, 0.5]}, ["ascend", "[0.9, 0.5]"]),
    ({"model.quantiles": [0.5, 0.5]}, ["ascend", "[0.5, 0.5]"]),
    ({"model.quantiles": [0.5, 1.5]}, ["model.quantiles.1", "found 1.5"]),
    ({"model.quantiles": [0.5], "train.loss": "mse"}, ["train.loss is mse", "pinball", "remove one"]),
    ({"train.loss": "cross_entropy"}, ["train.loss is cross_entropy", "task: classify"]),
    ({"train.loss": "focal"}, ["train.loss is focal", "task: classify", "mae, mse, huber"]),
    (
        {"train.loss": "hubert"},
        ["loss 'hubert' is neither known nor a package.module:function", "did you mean 'huber'"],
    ),
    ({"train.loss": "os;system:x"}, ["'os;system:x' is neither known"]),
    ({"model.quantiles": [0.5], "train.loss": "own.losses:mine"}, ["own.losses:mine", "pinball", "remove one"]),
    ({"model.distribution": "gaussian", "train.loss": "mae"}, ["train.loss is mae", "its likelihood", "remove one"]),
    ({"train.class_weights": "balanced"}, ["train.class_weights is balanced", "no classes", "remove it"]),
    (CLASSIFY | {"train.class_weights": {"a": 0}}, ["class_weights must be above 0", "found 0"]),
    ({"train.accumulate": 9}, ["accumulate 9 exceeds batch 8", "lower it"]),
    ({"train.truncate_steps": 6}, ["truncate_steps 6", "window.patch 4", "set it to 8"]),
    ({"train.truncate_steps": 8, "model.attention": True}, ["truncate_steps is 8", "model.attention", "remove one"]),
    (CLASSIFY | {"train.truncate_steps": 8}, ["train.truncate_steps is 8", "whole sequences", "remove it"]),
    (CLASSIFY | {"window.stride": 2}, ["window.stride is 2", "whole sequences", "remove it"]),
    (CLASSIFY | {"train.loss": "huber"}, ["train.loss is huber", "focal", "remove it"]),
    ({"model.normalisation_steps": 13}, ["normalisation_steps 13", "window.history 12"]),
    ({"window.lags": [6, 5]}, ["lags [5] are less than horizon 6", "use lags of 6 or more"]),
    ({"window.lags": [6, 6]}, ["lags [6, 6] name one twice"]),
    (CLASSIFY | {"window.lags": [6]}, ["window.lags is [6]", "no target", "remove it"]),
    (LABEL | {"window.lags": [6]}, ["window.lags is [6]", "no target", "remove it"]),
    ({"model.difference": 12}, ["model.difference 12", "window.history 12", "lengthen the history"]),
    (
        {"model.difference": 1, "model.distribution": "gaussian"},
        ["model.difference is 1", "gaussian", "model.quantiles"],
    ),
    (CLASSIFY | {"model.difference": 1}, ["model.difference is 1", "no target", "remove it"]),
    (LABEL | {"model.difference": 1}, ["model.difference is 1", "no target", "remove it"]),
    ({"plan.steps": 5}, ["plan.steps 5", "window.horizon 6", "raise it"]),
    ({"data.past": ["load"]}, ["'load' is both target and past", "give it one role"]),
    ({"data.known": ["wind"]}, ["'wind' is both past and known"]),
    ({"data.target": ["load", "load"]}, ["'load' is both target and target"]),
    ({"data.target": ["when"]}, ["'when' is both time and target"]),
    ({"data.target": []}, ["data.target is empty", "at least one target"]),
    ({"data.past": ["step"]}, ["'step'", "segments use themselves", "rename it"]),
    ({"data.label": "kind"}, ["data.label is 'kind'", "set task: classify"]),
    ({"data.source": []}, ["source is empty", "name at least one file"]),
    ({"split.train": 0.8, "split.validation": 0.3}, ["split", "1.1", "lower them"]),
    ({"split.train": 0.5, "split.validation": 10}, ["all fractions or all step counts", "[0.5, 10]"]),
    ({"split.train": 0.5, "split.validation": 0.3, "split.test": 0.3}, ["1.1"]),
    ({"split.validation_from": "soon", "split.test_from": "later"}, ["validation_from is 'soon'", "write an ISO date"]),
    ({"split.test_from": "2024-05-01"}, ["test_from is 2024-05-01", "validation_from is missing"]),
    ({"split.validation_from": "2024-05-01"}, ["validation_from is 2024-05-01", "test_from is missing"]),
    (DATES | {"split.test": 0.1}, ["test is 0.1", "validation_from 2024-04-01", "remove one"]),
    (DATES | {"split.train": 100, "split.validation": 10}, ["train is 100", "by dates", "remove one"]),
    (DATES | {"split.test_from": "2024-04-01"}, ["validation_from 2024-04-01 is not before test_from 2024-04-01"]),
    (DATES | {"split.until": "2024-04-20"}, ["test_from 2024-05-01 is not before until 2024-04-20"]),
    (DATES | {"split.until": 700}, ["test_from 2024-05-01 is not before until 700", "of one kind"]),
    (DATES | {"split.by": "order"}, ["validation_from is 2024-04-01", "by: order deals whole series", "remove it"]),
    ({"split.by": "group", "split.gap_steps": 3}, ["gap_steps is 3", "by: group deals whole series"]),
    ({"split.by": "order", "split.folds": 3}, ["folds is 3", "by: order deals whole series"]),
    ({"split.by": "order", "split.until": 9}, ["until is 9", "by: order deals whole series"]),
    ({"split.group": "site"}, ["group is 'site'", "parts are cut by time", "set by: group"]),
    ({"split.by": "order", "split.group": "site"}, ["group is 'site'", "parts are cut by order"]),
    ({"split.by": "group", "split.train": 8, "split.validation": 3}, ["validation is 3", "as fractions"]),
    ({"split.by": "group", "data.known": ["part"]}, ["column 'part'", "split.by is group", "rename it"]),
    ({"split.folds": 1}, ["split.folds", "greater than or equal to 2"]),
    ({"split.fold": 0}, ["fold is 0", "folds is missing", "at least 1"]),
    ({"split.folds": 3, "split.fold": 3}, ["fold is 3", "there are 3, numbered from 0", "at least 4"]),
    ({"plan.scenarios": [SCENARIO, SCENARIO]}, ["['storm'] is taken", "rename"]),
    ({"plan.scenarios": [SCENARIO | {"name": "base"}]}, ["['base'] is taken"]),
    ({"plan.scenarios": [SCENARIO | {"name": " "}]}, ["changes column 'wind' has an empty name"]),
    ({"plan.synthetic": True}, ["plan.synthetic: a section with fields of its own, found True"]),
    ({"tune.space": {"model.hidden": {}}}, ["exactly one of choice, uniform, loguniform", "found none"]),
    ({"tune.space": {"model.hidden": [8, 12]}}, ["does not say how values are drawn", "write choice: [8, 12]"]),
    ({"tune.space": {"model.hidden": {"choice": []}}}, ["choice needs at least one value"]),
    ({"tune.space": {"model.dropout": {"uniform": [0.5, 0.1]}}}, ["low < high", "[0.5, 0.1]"]),
    ({"tune.space": {"train.learning_rate": {"loguniform": [0, 1]}}}, ["above 0", "[0.0, 1.0]"]),
    ({"tune.space": {"model.dropout": {"choice": [0.1, 1.5]}}}, ["'model.dropout'", "1.5 is not allowed there"]),
    ({"tune.space": {"model.dropout": {"uniform": [0.1, 1.0]}}}, ["'model.dropout'", "1.0 is not allowed there"]),
    ({"tune.space": {"train.augment.jitter": {"uniform": [-1, 1]}}}, ["'train.augment.jitter'", "-1.0 is not allowed"]),
    ({"tune.space": {"window.history": {"choice": [0]}}}, ["'window.history'", "0 is not allowed there"]),
    ({"tune.space": {"model.hidden": {"uniform": [4.5, 9]}}}, ["4.5 is not allowed there", "whole ends"]),
    ({"tune.space": {"model.attention": {"uniform": [0, 1]}}}, ["'model.attention' is no number", "as choice"]),
    (
        {"tune.space": {"model.hidden": {"choice": [8, 12, 8.0]}}},
        ["'model.hidden': 8 is listed twice", "leave one out"],
    ),
    *(
        ({"tune.space": {path: {"choice": [1, 2]}}}, [f"'{path}'", why, "take it out of the space"])
        for path, why in (
            ("seed", "luckiest run"),
            ("train.loss", "could not be compared"),
            ("train.huber_delta", "could not be compared"),
            ("train.focal_gamma", "could not be compared"),
            ("train.class_weights", "could not be compared"),
            ("model.quantiles", "could not be compared"),
            ("model.distribution", "could not be compared"),
            ("window.horizon", "could not be compared"),
            ("train.workers", "speed alone"),
            ("train.threads", "speed alone"),
            ("train.read", "speed alone"),
            ("train.accumulate", "speed alone"),
            ("train.precision", "speed alone"),
            ("train.patience", "end when the search says so"),
            ("window.stride", "which windows teach"),
            ("window.season", "no trial changes"),
            ("window.lags", "prepared once for all trials"),
        )
    ),
    (
        {"tune.search": "grid", "tune.space": {"model.dropout": {"uniform": [0.1, 0.2]}}},
        ["search is grid", "'model.dropout'", "is a range", "search: random"],
    ),
    (PBT | {"tune.search": "optuna"}, ["search is optuna", "scheduler pbt changes them on the way"]),
    (PBT | {"tune.trials": 1}, ["trials is 1", "another trial to take over"]),
    (PBT | {"tune.grace_epochs": 8}, ["grace_epochs 8 of max_epochs 8", "lower it below 8"]),
    (PBT | {"tune.space": {}}, ["space is empty", "no setting to disturb"]),
    (
        PBT | {"tune.space": {"model.hidden": {"choice": [4, 8]}}},
        ["scheduler is pbt", "'model.hidden'", "scheduler: asha"],
    ),
    (PBT | {"tune.space": {"train.optimiser": {"choice": ["adam", "sgd"]}}}, ["scheduler is pbt", "'train.optimiser'"]),
    (PBT | {"tune.space": {"train.weight_averaging": {"choice": [None, 0.9]}}}, ["keeps no average", "pbt"]),
    (CLASSIFY | {"data.target": ["load"]}, ["reads data.past alone", "move target"]),
    (CLASSIFY | {"data.label": None}, ["data.label is missing"]),
    (CLASSIFY | {"data.past": []}, ["data.past is empty"]),
    (CLASSIFY | {"data.series_id": []}, ["data.series_id is empty"]),
    (CLASSIFY | {"train.loss": "mae"}, ["train.loss is mae", "cross_entropy", "remove it"]),
    (CLASSIFY | {"model.quantiles": [0.5]}, ["model.quantiles is set", "remove it"]),
    (CLASSIFY | {"model.distribution": "gaussian"}, ["model.distribution is gaussian", "classes", "remove it"]),
    (CLASSIFY | {"model.output": "relu"}, ["model.output is relu", "classes", "remove it"]),
    (LABEL | {"data.target": ["load"]}, ["data.target is ['load']", "move these columns to data.past"]),
    (LABEL | {"data.label": None, "data.label_kind": "auto"}, ["data.label is missing"]),
    (LABEL | {"data.label": None}, ["label_kind is class", "no column is named"]),
    (LABEL | {"data.past": []}, ["data.past is empty"]),
    (LABEL | {"data.past": [], "data.layout": "wide", "data.label": None, "data.label_kind": "auto"}, ["wide"]),
    (LABEL | {"data.source": "a.ts", "data.label_kind": "auto"}, [".ts files", "long table"]),
    (CLASSIFY | {"data.source": "a.ts", "data.label_kind": "value"}, ["label_kind is value", "is a class"]),
    (CLASSIFY | {"data.label_kind": "value"}, ["data.label_kind is value", "tells classes", "remove it"]),
    (LABEL | {"preprocess.transform": "log"}, ["transform is log", "no target", "remove it"]),
    (LABEL | {"model.quantiles": [0.5]}, ["model.quantiles is [0.5]", "without quantiles"]),
    (LABEL | {"model.distribution": "gaussian"}, ["model.distribution is gaussian", "without a distribution"]),
    (LABEL | {"model.output": "relu"}, ["model.output is relu", "bounds forecasts"]),
    (LABEL | {"model.normalisation": "mean"}, ["model.normalisation is mean", "level out of a target"]),
    (LABEL | {"model.normalisation_steps": 6}, ["model.normalisation_steps is 6", "level out of a target"]),
    (LABEL | {"model.linear": "residual"}, ["model.linear is residual", "a target's history"]),
    (LABEL | {"model.channels": "joint"}, ["model.channels is joint", "inputs are always read together"]),
    (LABEL | {"model.pooling": "mean"}, ["model.pooling is mean", "each step is told"]),
    (LABEL | {"train.augment": {"time_warp": 0.1}}, ["train.augment.time_warp is 0.1", "use jitter"]),
    (LABEL | {"train.augment": {"window_slice": 0.1}}, ["train.augment.window_slice is 0.1", "use jitter"]),
    (LABEL | {"train.augment": {"mixup": 0.1}}, ["train.augment.mixup is 0.1", "use jitter"]),
    (
        LABEL | {"plan.scenarios": [SCENARIO | {"column": "price"}], "data.known": ["price"]},
        ["data.past columns alone"],
    ),
    (LABEL | {"train.truncate_steps": 8}, ["train.truncate_steps is 8", "every step once", "remove it"]),
    (LABEL | {"window.stride": 2}, ["window.stride is 2", "every step once", "remove it"]),
    (LABEL | {"train.loss": "mae"}, ["train.loss is mae", "kind 'class'", "cross_entropy or focal"]),
    (
        LABEL | {"data.label_kind": "value", "train.loss": "focal"},
        ["train.loss is focal", "kind 'value'", "mae or mse"],
    ),
    (LABEL | {"data.label_kind": "value", "train.class_weights": "balanced"}, ["labels are values", "remove it"]),
    (
        {"model.output": "relu", "model.distribution": "student_t"},
        ["output is relu", "distribution student_t", "remove one"],
    ),
]
VALUES: list[tuple[dict[str, Any], list[str]]] = [
    ({"train.batch": 0}, ["train.batch", "greater than 0", "found 0"]),
    ({"train.learning_rate": "fast"}, ["train.learning_rate", "found 'fast'"]),
    ({"train.learning_rate": float("inf")}, ["train.learning_rate", "finite", "found inf"]),
    ({"plan.scenarios": [SCENARIO | {"value": float("nan")}]}, ["plan.scenarios.0.value", "finite"]),
    ({"task": "cluster"}, ["task", "'forecast', 'classify' or 'label'", "found 'cluster'"]),
    ({"train": None}, ["train", "found None"]),
    ({"name": ""}, ["name", "found ''"]),
    ({"preprocess.calendar": ["year"]}, ["preprocess.calendar.0", "found 'year'"]),
    ({"deploy.port": 70000}, ["deploy.port", "found 70000"]),
]


def what_if(**values: Any) -> dict[str, Any]:
    """The change of a config that holds one scenario; None leaves a field out."""
    given = {name: value for name, value in (SCENARIO | values).items() if value is not None}
    return {"plan.scenarios": [given]}


SCENARIOS: list[tuple[dict[str, Any], list[str]]] = [
    *[
        (what_if(operation=operation, value=None), [f"operation '{operation}' needs a value", "add it"])
        for operation in ("shift", "scale", "set", "ramp", "shock", "noise")
    ],
    (what_if(operation="replay"), ["value is 5", "'replay' has no use for one", "remove it"]),
    (what_if(operation="missing"), ["value is 5", "'missing' has no use for one", "remove it"]),
    (what_if(operation="noise", value=-1), ["value is -1", "deviation of noise", "above 0"]),
    (what_if(operation="double"), ["plan.scenarios.0.operation", "found 'double'"]),
    (what_if(half_life=3), ["half_life is 3.0", "of operation 'shock'", "this is 'shift'"]),
    (what_if(operation="shock", half_life=0), ["plan.scenarios.0.half_life", "greater than 0", "found 0"]),
    (what_if(source="2024-01-01"), ["source is 2024-01-01", "of operation 'replay'", "remove it"]),
    (what_if(steps=0), ["plan.scenarios.0.steps", "greater than 0", "found 0"]),
    (what_if(between=[3, 9], steps=2), ["between and steps (2)", "keep one"]),
    (what_if(between=[3, 9], first=0), ["between and first (0)", "keep one"]),
    (what_if(between=[9, 3]), ["ends at 3, before it begins at 9", "swap them"]),
    (what_if(between=["2024-03-02", "2024-03-01T05:00Z"]), ["ends at 2024-03-01T05:00Z", "swap them"]),
    (what_if(between=[3, "2024-03-01"]), ["two ISO dates", "two whole numbers"]),
    (what_if(between=["noon", "night"]), ["between is ['noon', 'night']", "two ISO dates"]),
    (what_if(between=[3]), ["plan.scenarios.0.between"]),
    (what_if(column="load", first=0, steps=2), ["'storm'", "'load' is a target", "a stretch to step 1", "step 0"]),
    (what_if(column="load", first=1), ["'load' is a target", "a stretch to the end"]),
    (what_if(first=13), ["changes from step 13 on", "only 12 steps ahead", "lower first"]),
    (what_if(first=25) | {"plan.steps": 24}, ["changes from step 25 on", "only 24 steps ahead"]),
    (
        what_if(column="size", steps=3) | {"data.static": ["size"]},
        ["'size' is constant in each series", "use shift, scale, set, without first, steps and between"],
    ),
    (what_if(column="size", operation="ramp") | {"data.static": ["size"]}, ["'size' is constant in each series"]),
    (what_if(also=[{"column": "wnd", "operation": "set", "value": 1}]), ["'storm'", "'wnd'", "did you mean 'wind'"]),
    (what_if(also=[{"column": "load", "operation": "set", "value": 1, "first": 2}]), ["'load' is a target"]),
    (what_if(also=[{"column": "wind", "operation": "set"}]), ["plan.scenarios.0.also.0", "needs a value"]),
    (what_if(also=[{"column": "wind", "operation": "missing", "setps": 2}]), ["also.0.setps", "did you mean 'steps'"]),
    (CLASSIFY | what_if(column="load", also=[SCENARIO | {"column": "price"}]), ["also.0.name: unknown key"]),
    (
        CLASSIFY | what_if(also=[{"column": "price", "operation": "set", "value": 1}]),
        ["'price'", "data.past columns alone in task 'classify'"],
    ),
    (LABEL | what_if(first=1), ["'wind' cannot change after the last step of a sequence", "found first 1"]),
    (LABEL | what_if(first=-1, steps=3), ["cannot change after the last step"]),
    (LABEL | {"plan.thresholds": [{"above": 1}]}, ["plan.thresholds are of targets", "'label' has none"]),
    ({"plan.thresholds": [{"target": "laod", "above": 1}]}, ["'laod' is no target", "did you mean 'load'"]),
    ({"plan.thresholds": [{"above": 1}] * 2}, ["plan.thresholds: above 1.0 stands there twice", "remove one"]),
    (what_if(operation="replay", value=None, source="lastweek"), ["source is 'lastweek'", "ISO date"]),
    ({"plan.thresholds": [{"target": "load"}]}, ["crossed from one side", "found neither", "above or below"]),
    ({"plan.thresholds": [{"above": 3, "below": 1}]}, ["found above 3 and below 1"]),
]


@pytest.mark.parametrize(
    ("changes", "words"), MISSPELT + CONTRADICTIONS + SCENARIOS + VALUES, ids=lambda value: str(value)[:60]
)
def test_a_bad_config_is_told_what_was_found_and_what_to_do(changes: dict[str, Any], words: list[str]) -> None:
    message = complaint(changes)
    assert [word for word in words if word not in message] == [], message
    assert len(message.splitlines()) == 1


def test_the_config_that_the_others_change_is_good() -> None:
    assert parse(config_tree()).window.history == 12
    assert parse(changed(CLASSIFY)).loss == "cross_entropy"
    assert parse(changed({"plan.scenarios": [SCENARIO]})).plan.scenarios[0].value == 5
    dated = changed(
        what_if(between=[date(2024, 3, 1), "2024-03-01"], also=[{"column": "wind", "operation": "missing"}])
    )
    first, second = parse(dated).plan.scenarios[0].changes
    assert first.between == ("2024-03-01", "2024-03-01")
    assert second.operation == "missing"


def test_every_fault_is_named_at_once() -> None:
    message = complaint({"trian": {}, "train.batch": 0, "model.hiden": 1})
    assert len(message.splitlines()) == 3


@pytest.mark.parametrize("missing", ["name", "data"])
def test_a_missing_key_is_named(missing: str) -> None:
    tree = config_tree()
    del tree[missing]
    with pytest.raises(InputError, match=f"^{missing}: missing; add it to the YAML$"):
        parse(tree)


@given(st.sampled_from(sorted(Config.model_fields)), st.integers(0, 3))
def test_a_section_with_one_letter_lost_is_found_again(section: str, position: int) -> None:
    lost = section[:position] + section[position + 1 :]
    if lost not in Config.model_fields:
        assert f"did you mean '{section}'" in nearest(lost, Config.model_fields)


def test_defaults_of_the_loss_follow_the_task() -> None:
    assert parse(changed({})).loss == "mae"
    assert parse(changed({"train.loss": "mse"})).loss == "mse"
    assert parse(changed({"model.quantiles": [0.1, 0.5]})).loss == "pinball"
    assert parse(changed({"model.distribution": "student_t", "model.quantiles": [0.5]})).loss == "likelihood"
    assert parse(changed(CLASSIFY | {"train.loss": "focal"})).loss == "focal"
    assert parse(changed(LABEL)).loss == "cross_entropy"
    assert parse(changed(LABEL | {"data.label_kind": "value"})).loss == "mae"
    assert parse(changed({"train.loss": "own.losses:mine"})).loss == "own.losses:mine"


def test_labels_may_be_told_from_both_sides_and_their_loss_waits_for_their_kind() -> None:
    both_ways = parse(changed(LABEL | {"model.bidirectional": True, "model.attention": True}))
    assert both_ways.answers == "classes"
    for loss in ("mae", "focal", "own.losses:mine"):
        assert parse(changed(LABEL | {"data.label_kind": "auto", "train.loss": loss})).train.loss == loss
    augment = {"jitter": 0.1, "scaling": 0.1, "magnitude_warp": 0.1, "masking": 0.1}
    assert parse(changed(LABEL | {"train.augment": augment})).train.augment.masking == 0.1


def test_every_field_has_a_description() -> None:
    schema = Config.model_json_schema()
    sections = {"Config": schema, **schema["$defs"]}
    assert len(sections) >= 14
    for name, section in sections.items():
        assert section.get("description"), name
        for field, value in section["properties"].items():
            assert value.get("description") or "$ref" in value, f"{name}.{field} has no description"


def test_a_config_never_changes_after_loading() -> None:
    config = parse(config_tree())
    with pytest.raises(ValueError, match="frozen"):
        config.train.batch = 3  # type: ignore[misc]


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.name)
def test_a_shipped_config_loads_and_survives_its_round_trip(file: Path, tmp_path: Path) -> None:
    config = load(file)
    written = tmp_path / "config.yaml"
    written.write_text(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))
    assert load(written) == config
    assert config.name == file.stem


def test_a_config_with_everything_set_survives_its_round_trip(tmp_path: Path) -> None:
    space = {"train.learning_rate": {"loguniform": [1e-4, 1e-2]}, "model.layers": {"choice": [1, 2]}}
    config = parse(changed({"plan.scenarios": [SCENARIO], "tune.space": space, "data.source": ["a.csv", "b.csv"]}))
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
    assert load(tmp_path / "c.yaml") == config


def load_with(folder: Path, *overrides: str) -> Config:
    file = folder / "c.yaml"
    file.write_text(yaml.safe_dump(config_tree()))
    return load(file, overrides)


def test_overrides_are_yaml_and_the_last_one_counts(tmp_path: Path) -> None:
    config = load_with(
        tmp_path,
        *("train.batch=2", "train.batch=3", "data.past=[]", "train.learning_rate=1e-3", "model.residual=true"),
        *("seed=9", "tune.space={model.hidden: {choice: [4]}}"),
    )
    assert (config.train.batch, config.data.past, config.train.learning_rate) == (3, [], 0.001)
    assert (config.model.residual, config.seed, list(config.tune.space)) == (True, 9, ["model.hidden"])


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("train.batch", "expected section.field=value, such as"),
        ("=3", "expected section.field=value"),
        ("train.batch=[", "'[' is not a YAML value"),
        ("name.x=3", "'name' holds 'made', which has no fields"),
        ("train.btach=3", "did you mean 'batch'"),
        ("trian.batch=3", "did you mean 'train'"),
        ("train.batch=many", "train.batch: Input should be a valid integer"),
        ("window.patch=5", "patch 5 does not divide history 12"),
    ],
)
def test_a_bad_override_is_refused(tmp_path: Path, override: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        load_with(tmp_path, override)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"name: [a\n", "is not valid YAML"),
        (b"", "must hold keys and values, found NoneType"),
        (b"- a\n- b\n", "must hold keys and values, found list"),
        (b"name: \xff\xfe", "is no UTF-8 text"),
    ],
)
def test_a_file_that_is_no_config_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    file = tmp_path / "c.yaml"
    file.write_bytes(content)
    with pytest.raises(InputError) as caught:
        load(file)
    assert words in str(caught.value)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize("path", ["none.yaml", "."])
def test_a_config_that_cannot_be_read_is_named(tmp_path: Path, path: str) -> None:
    with pytest.raises(InputError, match=r"cannot read the config .* name an existing YAML file"):
        load(tmp_path / path)


def test_values_of_a_trial_are_validated_anew() -> None:
    config = parse(config_tree())
    tried = with_values(config, {"model.hidden": 16, "train.learning_rate": 0.1})
    assert (tried.model.hidden, tried.train.learning_rate, tried.data) == (16, 0.1, config.data)
    assert config.model.hidden == 8
    with pytest.raises(InputError, match="does not divide"):
        with_values(config, {"window.patch": 5})


def test_reserved_columns_are_those_that_segments_add() -> None:
    assert set(RESERVED) == {grid.SERIES, grid.TIME, segments.SEGMENT, segments.STEP}


def test_a_key_written_twice_is_refused_with_its_place(tmp_path):
    file = tmp_path / "twice.yaml"
    file.write_text("name: a\ntrain: {batch: 4}\ndata: {source: x.csv, time: t, target: [y]}\ntrain: {batch: 8}\n")
    with pytest.raises(InputError, match="key 'train' is written twice"):
        load(file)


WIDE = {"data": {"source": "a.csv", "layout": "wide"}}
COLUMNS = {"data": {"source": "a.csv", "layout": "columns", "time": "when"}}
TS: dict[str, Any] = {"task": "classify", "data": {"source": ["a_TRAIN.ts", "a_TEST.ts"]}}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data.time": None, "data.frequency": "1h"}, ["frequency is 1h", "without data.time", "remove it"]),
        ({"data.categorical": ["wind"]}, ["'wind' is both past and categorical"]),
        ({"data.categorical": ["step"]}, ["'step'", "segments use themselves"]),
        (WIDE | {"data.past": ["wind"]}, ["layout 'wide'", "['wind']", "leave series_id and time out"]),
        (WIDE | {"data.target": ["a", "b"]}, ["layout 'wide'", "['b']"]),
        (WIDE | {"data.time": "when"}, ["layout 'wide'", "['when']"]),
        (WIDE | {"task": "classify"}, ["data.layout is wide", "no labels"]),
        (WIDE | {"data.static": ["area"]}, ["layout 'wide'", "['area']", "data.static_source"]),
        (WIDE | {"data.weight": "counts"}, ["layout 'wide'", "['counts']"]),
        (WIDE | {"data.irregular": "resample"}, ["irregular is resample", "without data.time"]),
        (COLUMNS | {"data.time": None}, ["layout 'columns'", "no data.time"]),
        (COLUMNS | {"data.target": ["a", "b"]}, ["layout 'columns'", "['b']"]),
        (COLUMNS | {"data.categorical": ["kind"]}, ["layout 'columns'", "['kind']", "data.static_source"]),
        (COLUMNS | {"task": "classify", "data.label": None}, ["data.layout is columns", "no labels"]),
        (COLUMNS | {"task": "label", "data.past": ["a"]}, ["data.layout is columns, without labels"]),
        ({"data.weight": "wind"}, ["'wind' is both past and weight"]),
        ({"data.weight": "segment"}, ["'segment'", "segments use themselves"]),
        ({"data.time": None, "data.duplicates": "mean"}, ["duplicates is mean", "without data.time", "remove it"]),
        ({"data.time": None, "data.time_zone": "UTC"}, ["time_zone is UTC", "without data.time"]),
        ({"data.time_zone": "Europe/Berlyn"}, ["'Europe/Berlyn' is no zone", "did you mean 'Europe/Berlin'"]),
        ({"data.time_zone": "Mars"}, ["'Mars' is no zone", "write such as Europe/Berlin"]),
        ({"data.irregular": "time_delta", "data.frequency": "1h"}, ["frequency is 1h", "reads every row as one step"]),
        ({"data.irregular": "time_delta", "data.known": ["time_delta"]}, ["'time_delta' is made up", "rename yours"]),
        ({"data.static_source": "b.csv", "data.series_id": []}, ["static_source is b.csv", "no series_id"]),
        ({"data.static_source": "b.csv"}, ["static_source is b.csv", "name one or remove it"]),
        (TS | {"data.weight": "counts"}, ["dimensions (data.past) and a label alone"]),
        (TS | {"task": "forecast"}, [".ts files", "set task: classify"]),
        (TS | {"data.source": ["a.ts", "b.csv"]}, ["one .ts file, or the training and then the test file"]),
        (TS | {"data.source": ["a.ts", "b.ts", "c.ts"]}, ["one .ts file, or the training and then the test file"]),
        (TS | {"data.known": ["price"]}, ["dimensions (data.past) and a label alone"]),
        (TS | {"split": {"test": 0.1}}, ["{'test': 0.1}", "second .ts file is the test part"]),
        (TS | {"split": {"gap_steps": 3}}, ["second .ts file is the test part"]),
        (TS | {"split": {"by": "order"}}, ["{'by': 'order'}", "second .ts file is the test part", "dates or by"]),
        (TS | {"split": {"until": "5"}}, ["{'until': '5'}", "second .ts file is the test part"]),
        (TS | {"split": {"train": 10, "validation": 5}}, ["second .ts file is the test part", "fractions"]),
        (TS | {"data.source": "a.ts", "split": {"train": 0.7, "validation": 0.3}}, ["split", "nothing to test on"]),
        ({"split.train": 0.8, "split.validation": 0.2}, ["split", "nothing to test on"]),
        (CLASSIFY | {"data.categorical": ["site2"]}, ["reads data.past alone"]),
        (CLASSIFY | {"preprocess.transform": "log"}, ["preprocess.transform is log", "no target"]),
        ({"preprocess.impute": "linear"}, ["preprocess", "impute 'linear'", "causal: false"]),
        ({"preprocess.transform": "log", "model.output": "relu"}, ["model.output relu", "never fall below 0"]),
        (
            {"preprocess.transform": "box_cox", "model.output": "relu"},
            ["output relu", "transform box_cox learns others"],
        ),
        ({"preprocess.scale_by": "series", "model.output": "softplus"}, ["output softplus", "scale_by series"]),
        ({"preprocess.scale_by": "series", "preprocess.scale": "none"}, ["scale_by is series", "scale none"]),
        ({"preprocess.scale_by": "series", "preprocess.transform": "log"}, ["transform is log", "log1p or none"]),
        (CLASSIFY | {"preprocess.scale_by": "series"}, ["scale_by is series", "task 'classify' has no target"]),
        (CLASSIFY | {"preprocess.transform": "log1p"}, ["transform is log1p", "no target", "remove it"]),
        (
            {"preprocess.transform": "log", "model.distribution": "negative_binomial"},
            ["model.distribution negative_binomial", "preprocess.transform log"],
        ),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_source_and_its_roles_must_agree(changes: dict[str, Any], words: list[str]) -> None:
    message = complaint(changes)
    assert [word for word in words if word not in message] == [], message


def test_roles_that_the_source_tells_may_be_left_out() -> None:
    assert parse(changed(WIDE)).data.awaits_roles
    config = parse(changed(TS | {"split": {"train": 0.75, "validation": 0.25}, "plan": {"scenarios": [SCENARIO]}}))
    assert config.data.has_own_test
    assert not parse(changed(TS | {"data.source": "https://host/a.TS?raw=1"})).data.has_own_test
    assert parse(changed(TS | {"data.source": "https://host/a.TS?raw=1"})).data.is_ts
    assert parse(changed({"data.time": None})).data.columns == ["site", "load", "wind"]
    assert parse(changed(COLUMNS)).data.awaits_roles
    assert not parse(changed(COLUMNS | {"data.target": ["load"], "data.series_id": ["site"]})).data.awaits_roles
    wide = parse(changed(WIDE | {"data.static": ["area"], "data.static_source": "b.csv", "data.weight": None}))
    assert wide.data.columns == ["area"]
    weighted = parse(changed({"data.weight": "counts"})).data
    assert (weighted.columns[-1], weighted.numeric) == ("counts", ["load", "wind", "counts"])


def test_dates_may_be_written_bare_as_yaml_reads_them() -> None:
    tree = yaml.safe_load("{validation_from: 2024-04-01, test_from: 2024-05-01T06:00:00Z}")
    split = parse(changed({"split": tree})).split
    assert (split.validation_from, split.test_from) == ("2024-04-01", "2024-05-01T06:00:00+00:00")
    numbers = parse(changed({"split": {"validation_from": 100, "test_from": "200", "until": 300}})).split
    assert (numbers.validation_from, numbers.test_from, numbers.until) == ("100", "200", "300")


HEAT = {"name": "heat", "low": 0, "high": 10}
ORDER = {"name": "order", "low": 0, "high": 50}
TRACK = {"kind": "track", "reference": 20}
SHOP = {"kind": "newsvendor", "supply": "order", "over": 1, "under": 3}


def deciding(
    *actions: dict[str, Any],
    objective: list[dict[str, Any]] | None = None,
    roles: dict[str, Any] | None = None,
    **values: Any,
) -> dict[str, Any]:
    """Changes that add a decision about 'heat', a known column."""
    decision = {"actions": list(actions) or [HEAT], "objective": objective or [TRACK], **values}
    return {"data.known": ["heat", "price"], **(roles or {}), "plan.decision": decision}


def summed(**values: Any) -> dict[str, Any]:
    return HEAT | {"sum": {"steps": 6, **values}}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (deciding(HEAT | {"low": 10}), ["action 'heat'", "low 10 is not below high 10"]),
        (deciding(HEAT | {"step": 11}), ["action 'heat'", "step 11 exceeds high - low, 10"]),
        (deciding(HEAT | {"step": 2, "max_change": 1}), ["max_change 1 is less than step 2", "raise it"]),
        (deciding(summed()), ["sum has low None, high None, keep false"]),
        (deciding(summed(keep=True, low=3)), ["low 3.0, high None, keep true", "keep: true alone"]),
        (deciding(summed(low=9, high=3)), ["sum: low 9 exceeds high 3"]),
        (deciding(summed(low=61)), ["sum.low 61", "6 steps of at most 10 add up to 60"]),
        (deciding(summed(low=56) | {"step": 4}), ["sum.low 56", "6 steps of at most 8 add up to 48"]),
        (deciding(summed(high=5) | {"low": 1}), ["sum.high 5", "6 steps of at least 1 add up to 6"]),
        (deciding(summed(low=33, high=35) | {"step": 4}), ["no sum between 33 and 35", "steps of 4", "32 and 36"]),
        (deciding(summed(low=33) | {"every": 4}), ["sum.steps 6 is no multiple of every 4"]),
        (deciding(HEAT | {"sum": {"steps": 4, "low": 3}}), ["6 steps are planned", "no whole number of sums over 4"]),
        (deciding(HEAT, HEAT), ["action 'heat' is declared twice"]),
        (deciding(HEAT | {"name": "load"}), ["action 'load' is a target column", "data.known"]),
        (deciding(HEAT | {"name": "wind"}), ["action 'wind' is a past column"]),
        (deciding(HEAT | {"name": "area"}, roles={"data.static": ["area"]}), ["action 'area' is a static column"]),
        (deciding(HEAT | {"name": "weekday"}), ["'weekday' has the name of a calendar column"]),
        (deciding(HEAT | {"name": "heta"}), ["action 'heta'", "did you mean 'heat'", "nor judged"]),
        (deciding(HEAT | {"name": "oil"}), ["neither a data.known column nor judged", "; known columns: heat, price"]),
        (deciding(HEAT | {"name": ""}, objective=[TRACK | {"column": ""}]), ["an action has an empty name"]),
        (deciding(HEAT | {"name": "site"}, objective=[TRACK | {"column": "site"}]), ["'site'", "of what a row is"]),
        (deciding(HEAT, ORDER), ["action 'order' is neither a data.known column", "nor judged by a term"]),
        (
            deciding(ORDER | {"within": 0.2}, objective=[SHOP]),
            ["action 'order': within is 0.2", "no data.known column"],
        ),
        (deciding(objective=[TRACK | {"column": "laod"}]), ["column 'laod'", "neither a target nor an action"]),
        (deciding(objective=[TRACK | {"column": "price"}]), ["column 'price' is neither a target nor an action"]),
        (deciding(objective=[TRACK | {"reference": "prices"}]), ["reference 'prices'", "did you mean 'price'"]),
        (deciding(objective=[{"kind": "cost", "price": "wind"}]), ["price 'wind' is no data.known column"]),
        (deciding(objective=[{"kind": "cost"}]), ["term 'cost' lacks price"]),
        (deciding(objective=[TRACK | {"price": 3}]), ["term 'track' has no use for price"]),
        (deciding(objective=[{"kind": "threshold"}]), ["neither above nor below"]),
        (deciding(objective=[{"kind": "threshold", "above": 1, "below": 2}]), ["below 2 exceeds above 1"]),
        (deciding(ORDER, objective=[SHOP | {"supply": "oder"}]), ["supply 'oder' is no action", "'order'"]),
        (deciding(ORDER, objective=[SHOP | {"column": "order"}]), ["column and supply are both 'order'"]),
        (deciding(ORDER, objective=[SHOP | {"over": 0, "under": 0}]), ["over and under are both 0"]),
        (deciding(objective=[{"kind": "own", "function": "mine"}]), ["'mine' is no package.module:function"]),
        (deciding(objective=[TRACK | {"weight": 0}]), ["weight 0", "any plan would do"]),
        (deciding(elites=0.02), ["elites 0.02 of candidates 64 are 1", "at least 2"]),
        (deciding(cvar=0.03), ["cvar 0.03 of paths 32", "raise paths to 34"]),
        (deciding(HEAT | {"lwo": 3}), ["plan.decision.actions.0.lwo", "did you mean 'low'"]),
        (deciding(objective=[TRACK | {"referense": 3}]), ["objective.0.referense", "did you mean 'reference'"]),
        (CLASSIFY | deciding() | {"data.known": []}, ["plan.decision is set", "task 'classify'", "remove it"]),
        (LABEL | deciding(), ["plan.decision is set", "task 'label'"]),
    ],
    ids=lambda value: str(value)[-70:],
)
def test_a_decision_that_cannot_be_made_is_refused(changes: dict[str, Any], words: list[str]) -> None:
    message = complaint(changes)
    assert [word for word in words if word not in message] == [], message


def test_what_may_be_a_number_or_a_name_and_is_neither_is_one_fault() -> None:
    message = complaint(deciding(objective=[{"kind": "cost", "price": float("nan")}]))
    assert message == "plan.decision.objective.0.price: Input should be a finite number, found nan"


def test_a_decision_with_everything_set_survives_its_round_trip() -> None:
    heat = summed(low=30, high=40) | {"step": 0.5, "every": 2, "max_change": 3, "within": 0.5}
    objective: list[dict[str, Any]] = [
        SHOP,
        TRACK | {"reference": "price"},
        {"kind": "own", "function": "own.costs:mine"},
    ]
    config = parse(changed(deciding(heat, ORDER, objective=objective, cvar=0.2, steps=12)))
    assert parse(config.model_dump(mode="json")) == config
    assert config.plan.decision is not None
    assert (config.plan.decision.actions[0].top, config.plan.decision.actions[0].change) == (10, 3)
    grid = parse(changed(deciding(HEAT | {"low": 1, "step": 4, "max_change": 7}))).plan.decision
    assert grid is not None
    assert (grid.actions[0].top, grid.actions[0].change) == (9, 4)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"plan.synthetic": {"kinds": ["jitter", "jitter"]}}, ["kinds names 'jitter' twice", "name each once"]),
        ({"plan.synthetic": {"kinds": []}}, ["plan.synthetic.kinds"]),
        ({"plan.synthetic": {"kinds": ["noise"]}}, ["plan.synthetic.kinds.0", "'noise'", "jitter"]),
        (
            {"plan.synthetic": {"kinds": ["recombine"]}, "window.season": 1},
            ["recombine", "window.season is 1", "set its steps"],
        ),
        (CLASSIFY | {"plan.synthetic": {"kinds": ["rollouts"]}}, ["rollouts foretells targets", "use jitter"]),
        (CLASSIFY | {"plan.synthetic": {"kinds": ["recombine"]}}, ["recombine takes the season", "time_warp or mixup"]),
        (LABEL | {"plan.synthetic": {"kinds": ["jitter", "time_warp"]}}, ["time_warp would move values", "use jitter"]),
        (LABEL | {"plan.synthetic": {"kinds": ["mixup"]}}, ["mixup would move values", "labels of their steps"]),
    ],
    ids=lambda value: str(value)[-60:],
)
def test_synthetic_sequences_that_cannot_be_made_are_refused(changes: dict[str, Any], words: list[str]) -> None:
    message = complaint(changes)
    assert [word for word in words if word not in message] == [], message


def test_every_task_takes_the_kinds_that_fit_it() -> None:
    every = ["rollouts", "jitter", "time_warp", "mixup", "recombine"]
    fitting: list[tuple[dict[str, Any], list[str]]] = [({}, every), (CLASSIFY, every[1:4]), (LABEL, ["jitter"])]
    for changes, kinds in fitting:
        config = parse(changed(changes | {"plan.synthetic": {"kinds": kinds}}))
        assert config.plan.synthetic is not None
        assert config.plan.synthetic.kinds == kinds


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"split": {"by": "order"}}, ["evaluate.backtest", "split.by order", "set split.by: time"]),
        (
            {"task": "classify", "data": {"source": "a.ts"}},
            ["evaluate.backtest", "cases of .ts files have no times", "remove it"],
        ),
        ({"evaluate.backtest.folds": 0}, ["evaluate.backtest.folds", "greater than 0"]),
    ],
    ids=["dealt", "ts", "folds"],
)
def test_a_backtest_that_has_no_stretches_of_time_is_refused(changes: dict[str, Any], words: list[str]) -> None:
    message = complaint({"evaluate.backtest": {"folds": 2}} | changes)
    assert [word for word in words if word not in message] == [], message


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        (["price"], ["evaluate.groups: 'price'", "no role that is constant in a series", "data.series_id, static"]),
        (["load"], ["evaluate.groups: 'load'", "changes within a series"]),
        (["site", "site"], ["names a column twice"]),
    ],
    ids=["unknown", "moving", "twice"],
)
def test_groups_that_are_not_constant_in_a_series_are_refused(groups: list[str], words: list[str]) -> None:
    message = complaint({"data.series_id": ["site"], "data.target": ["load"], "evaluate.groups": groups})
    assert [word for word in words if word not in message] == [], message


def test_damage_of_no_size_is_refused() -> None:
    sizes = {"evaluate.noise": [0.0, 0.3], "evaluate.missing": [1.0], "evaluate.damage": ["rust"]}
    for field, value in sizes.items():
        assert field in complaint({field: value})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"stress.slow": 0.5, "stress.hostile": 0.5}, ["less than a tenth of the clients", "lower one"]),
        ({"stress.users": [0, 4]}, ["stress.users", "greater than 0"]),
        ({"stress.users": []}, ["stress.users", "at least 1"]),
    ],
)
def test_load_that_would_measure_nobody_is_refused(changes: dict[str, Any], words: list[str]) -> None:
    told = complaint(changes)
    assert all(word in told for word in words), told


def test_a_load_may_do_without_slow_and_hostile_clients() -> None:
    assert parse(changed({"stress.slow": 0, "stress.hostile": 0})).stress.hostile == 0


PRIVATE: dict[str, Any] = {
    "train.private": {"epsilon": 2.0},
    "model.linear": "none",
    "model.normalisation": "mean",
    "plan.synthetic": None,
}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"train.workers": 2}, ["train.workers is 2", "one process", "set 0"]),
        ({"train.read": "stream"}, ["train.read is stream", "set memory"]),
        ({"model.linear": "average"}, ["model.linear is average", "solved on the data", "set none"]),
        ({"model.normalisation": "auto"}, ["model.normalisation is auto", "set mean_deviation"]),
        ({"model.members": 2}, ["model.members is 2", "set 1"]),
        ({"model.difference": 1}, ["model.difference is 1", "set null"]),
        ({"train.augment": {"mixup": 0.2}}, ["train.augment.mixup is 0.2", "mixes series", "set 0"]),
        ({**CLASSIFY, "train.class_weights": "balanced"}, ["train.class_weights is balanced", "weights of your own"]),
        ({"plan.synthetic": {}}, ["plan.synthetic is set", "without privacy", "set null"]),
        ({"train.private": {"epsilon": 0}}, ["train.private.epsilon", "greater than 0"]),
    ],
    ids=["workers", "stream", "linear", "auto", "members", "difference", "mixup", "balanced", "synthetic", "epsilon"],
)
def test_what_would_not_be_private_is_refused(changes: dict[str, Any], words: list[str]) -> None:
    message = complaint(PRIVATE | changes)
    assert [word for word in words if word not in message] == [], message


def test_what_is_left_open_is_private_where_privacy_is_asked_for() -> None:
    config = parse(changed({"train.private": {}, "model": {}}))
    assert (config.model.linear, config.model.normalisation, config.plan.synthetic) == ("none", "mean_deviation", None)
    assert parse(config.model_dump()) == config
    assert with_values(config, {"train.private": None}).model == config.model, (
        "what was filled in stays as it was written"
    )
