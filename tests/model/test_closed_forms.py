"""What is solved, not learned: ridges of windows and of sequences, from sums over any share of the data.

Shapes: M windows or sequences, A inputs of a ridge, L history, H horizon, K classes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.linear_model import Ridge

from lstm_ray.config import Config
from lstm_ray.data.feed import class_weights
from lstm_ray.data.parts import Boundaries
from lstm_ray.data.windows import IGNORED, Segments, cut_sequences, origins
from lstm_ray.model import closed_forms as module
from lstm_ray.model import kernels, ridge
from lstm_ray.model.closed_forms import Solved, Whole, closed_forms, window_sums_of
from lstm_ray.model.ensemble import Ensemble
from lstm_ray.model.highway import Highway
from lstm_ray.model.kernels import KernelRidge
from lstm_ray.model.network import Forecaster, build, single
from lstm_ray.model.training import start
from tests import made
from tests.model.test_highway import NORMALISATIONS, SCALED, H, L, by_hand, linear_config, windows_of


def ridge_of(config: Config, segments: Segments = SCALED) -> NDArray:
    [found] = closed_forms(config, segments, made.PARTS)
    assert found["highway.ridge_AH"].dtype == np.float32
    return found["highway.ridge_AH"]


@pytest.mark.parametrize("values", NORMALISATIONS, ids=str)
def test_the_ridge_is_scikit_learns_on_windows_normalised_by_hand(values: dict[str, Any]) -> None:
    config = linear_config(**values)
    parts = []
    for part in ("train", "validation"):
        rows = origins(SCALED, made.PARTS, part, config.window)  # type: ignore[arg-type]
        level, scale = by_hand(config, windows_of(rows)[:, :L])
        weight_M = SCALED.observed_RC[rows[:, None] + np.arange(1, H + 1), 0].mean(1)
        parts.append(((windows_of(rows) - level) / scale, weight_M))
    (train, weight_M), (held_out, held_weight_M) = parts
    x, y = train[:, :L], train[:, L:]
    variance = np.trace(np.cov(x.T, bias=True, aweights=weight_M)) / L
    fits = [Ridge(alpha=p * variance * weight_M.sum()).fit(x, y, sample_weight=weight_M) for p in ridge.PENALTIES]
    errors = [((fit.predict(held_out[:, :L]) - held_out[:, L:]) ** 2 * held_weight_M[:, None]).sum() for fit in fits]
    best = fits[int(np.argmin(errors))]
    found_AH = ridge_of(config)
    # Coefficients may differ where the normalised steps add up to 0, so that the data cannot tell them apart.
    found_MH = found_AH[0] + held_out[:, :L] @ found_AH[1:]
    np.testing.assert_allclose(found_MH, best.predict(held_out[:, :L]), atol=2e-4)


@pytest.mark.parametrize("values", NORMALISATIONS, ids=str)
def test_the_plain_ridge_is_that_of_histories_less_their_last_value_whatever_the_network_takes_out(
    values: dict[str, Any],
) -> None:
    [found] = closed_forms(linear_config(**values), SCALED, made.PARTS)
    expected = ridge_of(linear_config("residual", model__normalisation="last"))
    np.testing.assert_array_equal(found["highway.plain_AH"], expected)
    for linear in ("residual", "trained"):
        [without] = closed_forms(linear_config(linear, **values), SCALED, made.PARTS)
        assert list(without) == ["highway.ridge_AH"], "who mixes nothing has none"
        np.testing.assert_array_equal(without["highway.ridge_AH"], found["highway.ridge_AH"])


def test_sums_over_shares_add_up_to_those_of_the_part() -> None:
    config = linear_config()
    for part in ("train", "validation"):
        whole = window_sums_of(config, Whole(SCALED), made.PARTS, part)  # type: ignore[arg-type]
        shares = [window_sums_of(config, Whole(SCALED, rank, 3), made.PARTS, part) for rank in range(3)]  # type: ignore[arg-type]
        assert all(one.weight > 0 for one in shares)
        total = shares[0] + shares[1] + shares[2]
        np.testing.assert_allclose(total.flat(), whole.flat(), rtol=1e-4, atol=1e-3)


def test_horizons_that_were_not_measured_do_not_teach() -> None:
    config = linear_config()
    alone = made.segments_of([240])
    both = made.segments_of([240, 240])
    wild, blind = np.where(np.arange(480) < 240, 1, 50)[:, None], np.where(np.arange(480) < 240, 1, 0)[:, None]
    target, observed = both.target_RC * wild, both.observed_RC * blind
    target[:240], observed[:240] = alone.target_RC, alone.observed_RC
    both = replace(both, target_RC=target.astype(np.float32), observed_RC=observed.astype(np.float32))
    scaler = made.scaler_of(alone)
    expected, found = (ridge_of(config, segments.scaled(scaler)) for segments in (alone, both))
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("normalisation", ["mean_deviation", "auto"])
def test_every_network_that_has_a_map_starts_from_its_own_ridge(normalisation: str) -> None:
    config = linear_config(model__normalisation=normalisation, model__members=2)
    network = build(config, SCALED.schema)
    found = closed_forms(config, SCALED, made.PARTS)
    training = start(network, config, solved=found)
    maps = [one.highway for one in single(network) if isinstance(one, Forecaster)]
    assert [bool(solved) for solved in found] == [one is not None for one in maps]
    assert len(found) == (4 if normalisation == "auto" else 2)
    for index in range(2):
        highway = maps[index]
        assert isinstance(highway, Highway)
        expected = ridge_of(linear_config(model__normalisation="mean_deviation"))
        np.testing.assert_array_equal(highway.ridge_AH.numpy(), expected)
        assert torch.equal(training.best_weights[f"members.{index}.highway.ridge_AH"], highway.ridge_AH)


def test_where_no_closed_form_is_asked_for_nothing_is_read() -> None:
    class Unread(Whole):
        @property
        def index(self) -> Segments:
            raise AssertionError("the data was looked at")

        @index.setter
        def index(self, value: Segments) -> None:
            pass

    for config in (linear_config("none"), made.classify_config(), made.label_config(), made.value_config()):
        assert module.solved(config, Unread(SCALED), made.PARTS) == [{}]


LENGTHS = [24, 19, 22, 24, 17, 24] * 6
PARTS: Boundaries = {"train": (0, 24 * 20), "validation": (24 * 20, 24 * 28), "test": (24 * 28, 24 * 36)}
TRAIN, VALIDATION = np.arange(20), np.arange(20, 28)


def days(turned: int = 6, past: tuple[str, ...] = ("load", "wind")) -> Segments:
    """Scaled sequences of three classes that differ in shape, every ``turned``-th of another class than it looks."""
    schema = made.schema_of(target=(), past=past, classes=("down", "flat", "up"))
    segments = made.segments_of(LENGTHS, [24 * index for index in range(len(LENGTHS))], schema)
    label = np.arange(len(LENGTHS)) % 3
    position = np.arange(segments.bounds[-1]) - np.repeat(segments.bounds[:-1], LENGTHS)
    rise = (np.repeat(label, LENGTHS) - 1) * position * 0.2
    label = np.where(np.arange(len(LENGTHS)) % turned == turned - 1, (label + 1) % 3, label)
    fields = vars(segments) | {"past_RP": segments.past_RP + rise[:, None].astype(np.float32), "label": label}
    segments = Segments(**fields)
    return segments.scaled(made.scaler_of(segments))


def day_config(**values: Any) -> Config:
    given = {"model__linear": "average", "window__history": 24, "data__past": ["load", "wind"], "model__members": 2}
    return made.classify_config(**given | values)


def taught(config: Config, segments: Segments, solved: Solved | None = None) -> KernelRidge:
    """The ridge among the networks of a config."""
    network = build(config, segments.schema)
    found = closed_forms(config, segments, PARTS)
    if solved is not None:
        found[-1] = solved
    start(network, config, solved=found, class_weight_K=class_weights(segments, PARTS, config))
    assert isinstance(network, Ensemble)
    *others, last = network.members
    assert isinstance(last, KernelRidge)
    assert not any(isinstance(one, KernelRidge) for one in others)
    return last


def given_of(segments: Segments, ids_M: NDArray) -> list[torch.Tensor]:
    batch = cut_sequences(segments, ids_M, 24, 4)
    return [torch.from_numpy(part) for part in (batch.past_BTP, batch.known_BTK, batch.origin_BN)]


def features_of(network: KernelRidge, segments: Segments, ids_M: NDArray) -> NDArray:
    return network.features(*kernels.read(cut_sequences(segments, ids_M, 24, 4))).double().numpy()


@pytest.fixture
def few_features(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "FEATURES", 2 * 84 * 2)


@pytest.mark.usefixtures("few_features")
@pytest.mark.parametrize(
    "weights", ["none", "balanced", {"down": 4.0, "flat": 0.5}], ids=["plain", "balanced", "by class"]
)
def test_the_ridge_of_sequences_is_scikit_learns_on_standardised_features(weights: Any) -> None:
    segments, config = days(turned=4), day_config(train__class_weights=weights)
    assert segments.label is not None
    network = taught(config, segments)
    x, held_out = (features_of(network, segments, ids_M) for ids_M in (TRAIN, VALIDATION))
    y, held_y = (np.eye(3)[segments.label[ids_M]] for ids_M in (TRAIN, VALIDATION))
    weight_K = class_weights(segments, PARTS, config)
    weight_K = np.ones(3) if weight_K is None else weight_K
    weight_M, held_weight_M = (weight_K[segments.label[ids_M]] for ids_M in (TRAIN, VALIDATION))
    mean = np.average(x, axis=0, weights=weight_M)
    deviation = np.sqrt(np.maximum(np.average((x - mean) ** 2, axis=0, weights=weight_M), ridge.MIN_DEVIATION**2))
    variance = (np.average((x - mean) ** 2, axis=0, weights=weight_M) / deviation**2).mean()
    alphas = [penalty * variance * weight_M.sum() for penalty in module.PENALTIES]
    fits = [Ridge(alpha=alpha).fit(x / deviation, y, sample_weight=weight_M) for alpha in alphas]
    errors = [((fit.predict(held_out / deviation) - held_y) ** 2 * held_weight_M[:, None]).sum() for fit in fits]
    best = int(np.argmin(errors))
    assert 0 < best < len(fits) - 1, "neither the least penalty nor the greatest"
    found = network(*given_of(segments, VALIDATION)).numpy()
    np.testing.assert_allclose(found, fits[best].predict(held_out / deviation), atol=2e-4)
    others = [np.abs(found - fit.predict(held_out / deviation)).max() for fit in fits[:best] + fits[best + 1 :]]
    assert min(others) > 2e-3


@pytest.mark.usefixtures("few_features")
def test_a_class_that_weighs_more_is_told_more_often() -> None:
    segments = days(turned=5)
    plain, heavy = (taught(day_config(train__class_weights=weights), segments) for weights in ("none", {"up": 50.0}))
    told = [network(*given_of(segments, TRAIN))[:, 2].mean() for network in (plain, heavy)]
    assert told[1] > told[0] + 0.2


@pytest.mark.usefixtures("few_features")
def test_sequences_without_a_class_do_not_teach() -> None:
    segments = days()
    assert segments.label is not None
    hidden = np.array([1, 4, 5, 12, 21, 23])
    label = segments.label.copy()
    label[hidden] = IGNORED
    unlabelled = replace(segments, label=label)
    # The same without these sequences: their steps lie in no part.
    first_step = segments.first_step.copy()
    first_step[hidden] += 10_000
    away = replace(segments, first_step=first_step)
    [*_, found], [*_, expected] = (closed_forms(day_config(), given, PARTS) for given in (unlabelled, away))
    [*_, whole] = closed_forms(day_config(), segments, PARTS)
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value)
    assert not np.array_equal(whole["ridge_AK"], expected["ridge_AK"])
    assert not np.array_equal(whole["threshold_VJW"], expected["threshold_VJW"]), "nor do they set thresholds"


@pytest.mark.usefixtures("few_features")
def test_validation_sets_the_penalty_alone_and_the_test_part_is_not_read() -> None:
    segments = days()
    rows = np.arange(segments.bounds[-1])
    for first, same in ((20, ("weight_VJFL", "threshold_VJW")), (28, ("weight_VJFL", "threshold_VJW", "ridge_AK"))):
        later = rows >= segments.bounds[first]
        changed = replace(segments, past_RP=np.where(later[:, None], -3 * segments.past_RP, segments.past_RP))
        [*_, found], [*_, expected] = (closed_forms(day_config(), given, PARTS) for given in (changed, segments))
        assert [name for name in expected if np.array_equal(found[name], expected[name])] == list(same)


@pytest.mark.usefixtures("few_features")
def test_thresholds_come_from_some_sequences_that_are_spread_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    segments = days()
    monkeypatch.setattr(module, "SAMPLE", 7)
    [*_, few] = closed_forms(day_config(), segments, PARTS)
    network = taught(day_config(), segments)
    read = kernels.read(cut_sequences(segments, np.arange(0, 20, 3), 24, 4))
    np.testing.assert_array_equal(few["threshold_VJW"], network.thresholds(*read))
    monkeypatch.setattr(module, "SAMPLE_STEPS", 24 * 2)
    [*_, fewer] = closed_forms(day_config(), segments, PARTS)
    read = kernels.read(cut_sequences(segments, np.array([0, 10]), 24, 4))
    np.testing.assert_array_equal(fewer["threshold_VJW"], network.thresholds(*read))


@pytest.mark.usefixtures("few_features")
def test_the_ridge_brings_its_kernels_along() -> None:
    """What is solved holds for the kernels it was solved with, whatever kernels the network drew."""
    segments, config = days(), day_config()
    [*_, solved] = closed_forms(config, segments, PARTS)
    here, elsewhere = taught(config, segments), taught(day_config(seed=3), segments, solved)
    given = given_of(segments, VALIDATION)
    torch.testing.assert_close(elsewhere(*given), here(*given))


def test_sequences_are_told_apart_by_shape() -> None:
    segments = days(turned=100)
    assert segments.label is not None
    found = taught(day_config(), segments)(*given_of(segments, VALIDATION)).argmax(-1).numpy()
    assert (found == segments.label[VALIDATION]).mean() >= 7 / 8
