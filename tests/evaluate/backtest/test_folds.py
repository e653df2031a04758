from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from lstm_ray.data.parts import Boundaries
from lstm_ray.data.windows import origins
from lstm_ray.errors import InputError
from lstm_ray.evaluate.backtest.folds import fit_rivals, fitting, folds_of, measured, require_folds
from tests import made

GAPPED: Boundaries = {"train": (0, 130), "validation": (140, 170), "test": (180, 220)}


def backtest(folds, make=made.make_config, **values):
    return make(evaluate={"backtest": {"folds": folds}}, **values)


def test_every_fold_is_the_runs_own_split_moved_back_by_whole_test_parts():
    found = folds_of(GAPPED, 3)
    assert found[-1] == GAPPED
    assert found[0] == {"train": (0, 50), "validation": (60, 90), "test": (100, 140)}
    for early, late in pairwise(found):
        assert early["test"][1] == late["test"][0]
    for fold in found:
        assert fold["validation"][0] - fold["train"][1] == fold["test"][0] - fold["validation"][1] == 10
        assert fold["validation"][1] - fold["validation"][0] == 30


def test_nothing_of_a_fold_reaches_into_what_comes_after_it():
    segments, config = made.segments_of((240, 240)), made.make_config()
    for fold in folds_of(GAPPED, 3):
        for part, before in (("test", "validation"), ("validation", "train")):
            first_step = segments.steps(origins(segments, fold, part, config.window)) + 1
            last_told = segments.steps(origins(segments, fold, before, config.window)) + config.window.horizon
            assert last_told.max() < first_step.min()


def test_as_many_folds_are_found_as_the_data_hold():
    segments = made.segments_of((240, 240))
    found, lacks = fitting(backtest(2), segments, made.PARTS)
    assert (found, lacks) == (folds_of(made.PARTS, 2), "")
    found, lacks = fitting(backtest(9), segments, made.PARTS)
    # 140 steps train in the newest fold, 80 in the one before, 20 in the third: a window needs 18.
    assert len(found) == 3
    assert "would end 40 steps before it begins" in lacks


def test_too_many_folds_are_refused_with_how_many_fit():
    segments = made.segments_of((240,))
    require_folds(backtest(3), segments, made.PARTS)
    with pytest.raises(InputError, match=r"folds is 4, but the data hold 3: for stretch 4, .* set it to 3, or shorten"):
        require_folds(backtest(4), segments, made.PARTS)
    longer = backtest(3, window={"history": 24, "horizon": 6, "patch": 4, "season": 6})
    with pytest.raises(
        InputError, match=r"hold 2: for stretch 3, .* the train part \(0, 20\) holds no window of 24 \+ 6 steps"
    ):
        require_folds(longer, segments, made.PARTS)


def test_a_class_that_a_fold_cannot_learn_ends_the_folds():
    segments = made.sequences_of([10] * 10)
    bounds: Boundaries = {"train": (0, 144), "validation": (144, 192), "test": (192, 240)}
    config = backtest(3, made.classify_config)
    assert len(fitting(config, segments, bounds)[0]) == 3
    late = made.sequences_of([10] * 10)
    late.label[:6] = [0, 0, 0, 0, 1, 0]
    found, lacks = fitting(config, late, bounds)
    assert len(found) == 1
    assert "classes that the training part lacks, 'up'" in lacks


@pytest.mark.parametrize(
    ("make", "segments", "bounds", "metric", "num"),
    [
        (made.make_config, made.segments_of((240,)), made.PARTS, "mae", 55),
        (
            made.classify_config,
            made.sequences_of([10] * 10),
            {"train": (0, 144), "validation": (144, 192), "test": (192, 240)},
            "macro_f1",
            2,
        ),
        (made.label_config, made.labelled_of((240,)), made.PARTS, "macro_f1", None),
        (made.value_config, made.labelled_of((240,), kind="value"), made.PARTS, "mae", None),
    ],
    ids=["forecast", "classify", "label", "value"],
)
def test_every_task_is_measured_with_its_own_baselines(make, segments, bounds, metric, num):
    config, scaler = make(), made.scaler_of(segments)
    models = {"policy": made.random_policy(config, segments), **fit_rivals(config, segments, bounds, scaler)}
    found, metrics = measured(config, models, segments, bounds, scaler)
    if num is None:
        assert segments.label_R is not None
        num = int((~np.isnan(segments.label_R[180:240])).sum())
    assert found == num
    assert len(metrics) == len(models) > 2
    assert all(np.isfinite(own[metric]) for own in metrics.values())
