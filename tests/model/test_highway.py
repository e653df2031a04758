"""The linear map past the LSTM: the ridge it starts from, what is learned of it, and what it may see.

Shapes as in ``network.py``: M windows, B sequences, T steps, N origins, L history, H horizon, C targets, P parameters.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lstm_ray.config import Config
from lstm_ray.data.windows import Batch, Segments, cut_windows, plan_sequences
from lstm_ray.model.closed_forms import closed_forms
from lstm_ray.model.highway import SHARES
from lstm_ray.model.network import Forecaster, build, single
from lstm_ray.model.objective import Objective, autocast
from lstm_ray.model.training import start
from tests import made
from tests.model.causality import assert_looks_back_alone
from tests.model.test_network import SCHEMA as TWO_TARGETS
from tests.model.test_network import N, T, random_inputs
from tests.model.test_training import Forgetful

L, H, P = 12, 6, 4
SEGMENTS = made.segments_of([240, 200])
SCALED = SEGMENTS.scaled(made.scaler_of(SEGMENTS))
ORIGINS = np.arange(60, 100)
NORMALISATIONS: list[dict[str, Any]] = [
    {"model__normalisation": "none"},
    {"model__normalisation": "last"},
    {"model__normalisation": "mean"},
    {"model__normalisation": "mean", "model__normalisation_steps": 5},
    {"model__normalisation": "mean_deviation"},
    {"model__normalisation": "mean_deviation", "model__normalisation_steps": 5},
]
NETWORKS: list[dict[str, Any]] = [
    {"model__linear": "residual", "model__normalisation": "mean"},
    {"model__linear": "trained", "model__normalisation": "mean_deviation"},
    {"model__linear": "average", "model__normalisation": "mean_deviation", "model__normalisation_steps": 8},
    {"model__linear": "average", "model__normalisation": "auto"},
    {"model__linear": "average", "model__normalisation": "auto", "model__members": 2, "model__channels": "joint"},
]
"""Of one member and of several."""
HEADS: list[dict[str, Any]] = [{"model__quantiles": [0.1, 0.5, 0.9]}, {"model__distribution": "student_t"}]


def linear_config(linear: str = "average", **values: Any) -> Config:
    return made.make_config(model__linear=linear, **values)


def taught(config: Config, segments: Segments = SCALED) -> Forecaster:
    """A fresh network that holds its ridge."""
    network = build(config, segments.schema)
    assert isinstance(network, Forecaster)
    start(network, config, solved=closed_forms(config, segments, made.PARTS))
    return network


def mute(network: Forecaster) -> Forecaster:
    """Without what it makes of states and known inputs."""
    assert network.respond is not None
    for layer in (network.head, network.respond):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    return network


def stirred(config: Config, schema: Any = TWO_TARGETS) -> torch.nn.Module:
    """A network in use, every part of it at random."""
    network, draw = build(config, schema).eval(), torch.Generator().manual_seed(1)
    for one in single(network):
        assert isinstance(one, Forecaster)
        silent = [] if one.newest is None else [one.newest.weight]
        if one.highway is not None:
            silent.append(one.highway.ridge_AH)
            silent += [] if one.highway.correction is None else [one.highway.correction.weight]
        for weight in silent:
            torch.nn.init.normal_(weight, std=0.1, generator=draw)
    return network


def ask(network: torch.nn.Module, batch: Batch) -> NDArray:
    """Raw answers in scaled units, [B, N, H, C, P]."""
    inputs = (batch.target_BTC, batch.observed_BTC, batch.past_BTP, batch.known_BTK)
    with torch.inference_mode():
        found: NDArray = network.eval()(*map(torch.from_numpy, inputs)).numpy()
    return found


def by_hand(config: Config, histories_ML: NDArray) -> tuple[NDArray, NDArray]:
    """Level and scale of histories, [M, 1] each."""
    newest, ones = histories_ML[:, -(config.model.normalisation_steps or L) :], np.ones((len(histories_ML), 1))
    kind = config.model.normalisation
    if kind == "none":
        return 0 * ones, ones
    if kind == "last":
        return newest[:, -1:], ones
    return newest.mean(1, keepdims=True), np.maximum(newest.std(1, keepdims=True), 0.05) if "dev" in kind else ones


def read_by_hand(map_AH: NDArray, history_ML: NDArray, level: NDArray, scale: NDArray) -> NDArray:
    return level + scale * (map_AH[0] + (history_ML - level) / scale @ map_AH[1:])


def windows_of(origins_M: NDArray, segments: Segments = SCALED) -> NDArray:
    """Histories and horizons side by side, float64 [M, L + H]."""
    return segments.target_RC[origins_M[:, None] + np.arange(1 - L, H + 1), 0].astype(np.float64)


@pytest.mark.parametrize("linear", ["residual", "trained", "average"])
@pytest.mark.parametrize("values", NORMALISATIONS, ids=str)
def test_before_training_a_network_without_its_lstm_answers_as_the_ridge(values: dict[str, Any], linear: str) -> None:
    config = linear_config(linear, **values)
    solved = closed_forms(config, SCALED, made.PARTS)[0]
    history_ML = windows_of(ORIGINS)[:, :L]
    expected_MH = read_by_hand(solved["highway.ridge_AH"], history_ML, *by_hand(config, history_ML))
    if linear == "average":
        # Half of it is the ridge on what lies above the last value, however the network itself sees the history.
        plain_MH = read_by_hand(
            solved["highway.plain_AH"], history_ML, history_ML[:, -1:], np.ones((len(history_ML), 1))
        )
        expected_MH = (expected_MH + plain_MH) / 2
    found = ask(mute(taught(config)), cut_windows(SCALED, ORIGINS, config.window))
    np.testing.assert_allclose(found[:, 0, :, 0, 0], expected_MH, atol=2e-5)


@pytest.mark.parametrize(("linear", "learns"), [("residual", False), ("trained", True), ("average", True)])
def test_the_map_is_learned_further_but_for_residual_and_the_ridge_stays(linear: str, learns: bool) -> None:
    config = linear_config(linear)
    network = taught(config)
    training = start(network.train(), config)
    objective = Objective(config, network, network)
    highway, batch = network.highway, cut_windows(SCALED, ORIGINS, config.window)
    assert highway is not None
    ridge_AH, state = highway.ridge_AH.clone(), network.head.weight.clone()
    for _ in range(3):
        training.optimiser.zero_grad()
        objective.sums(objective.lesson(batch))[0].backward()
        training.optimiser.step()
    assert not torch.equal(network.head.weight, state)
    assert torch.equal(highway.ridge_AH, ridge_AH)
    assert ridge_AH.any()
    names = [name for name, _ in network.named_parameters() if name.startswith("highway")]
    assert names == (["highway.correction.weight"] if learns else [])
    if learns:
        assert highway.correction is not None
        assert highway.correction.weight.abs().min() > 0


@pytest.mark.parametrize("share", [*SHARES, 0.25])
def test_an_average_is_half_the_plain_ridge_and_half_its_own_where_it_has_a_share(share: float) -> None:
    config = linear_config(model__normalisation="mean_deviation")
    network = taught(config)
    assert network.highway is not None
    assert network.highway.correction is not None
    torch.nn.init.normal_(network.highway.correction.weight, std=0.2)
    batch = cut_windows(SCALED, ORIGINS, config.window)
    assert float(network.highway.share) == 0.5
    network.highway.share.fill_(share)
    trained = build(linear_config("trained", model__normalisation="mean_deviation"), SCALED.schema)
    weights = network.state_dict()
    weights.pop("highway.share")
    weights.pop("highway.plain_AH")
    trained.load_state_dict(weights)
    own, ridge = ask(trained, batch), ask(mute(taught(linear_config("residual", **NORMALISATIONS[1]))), batch)
    assert np.abs(own - ridge).max() > 0.1
    np.testing.assert_allclose(ask(network, batch), share * ridge + (1 - share) * own, atol=1e-5)
    # What it learns from is its own answer alone.
    inputs = (batch.target_BTC, batch.observed_BTC, batch.past_BTP, batch.known_BTK)
    with torch.no_grad():
        in_training = network.train()(*map(torch.from_numpy, inputs))
    np.testing.assert_allclose(in_training.numpy(), own, atol=1e-5)


@pytest.mark.parametrize("normalisation", ["mean", "mean_deviation"])
@pytest.mark.parametrize("quantiles", [[0.1, 0.5, 0.9], [0.5, 0.9], [0.05, 0.1, 0.5]])
def test_the_map_moves_the_median_and_quantiles_follow_in_order(quantiles: list[float], normalisation: str) -> None:
    config = linear_config("trained", model__quantiles=quantiles, model__normalisation=normalisation)
    network = taught(config)
    assert network.highway is not None
    batch = cut_windows(SCALED, ORIGINS, config.window)
    before_MHQ = ask(network, batch)[:, 0, :, 0]
    network.highway.ridge_AH[0] += torch.arange(float(H))
    after_MHQ = ask(network, batch)[:, 0, :, 0]
    scale_M1 = by_hand(config, windows_of(ORIGINS)[:, :L])[1]
    moved = np.broadcast_to((scale_M1 * np.arange(H))[..., None], after_MHQ.shape)
    np.testing.assert_allclose(after_MHQ - before_MHQ, moved, atol=2e-5)
    assert (np.diff(after_MHQ, axis=-1) > 0).all()


@pytest.mark.parametrize("distribution", ["gaussian", "student_t", "negative_binomial"])
def test_the_map_moves_the_location_of_a_distribution_and_nothing_else(distribution: str) -> None:
    config = linear_config("trained", model__distribution=distribution, model__normalisation="mean")
    network = taught(config)
    network.set_units(made.scaler_of(SEGMENTS))
    assert network.highway is not None
    batch = cut_windows(SCALED, ORIGINS, config.window)
    before = ask(network, batch)
    network.highway.ridge_AH[0] += 0.5
    after = ask(network, batch)
    # Counts are some 20 in their own units, where the bend of softplus is all but straight.
    expected = 0.5 if distribution != "negative_binomial" else 0.5 / float(network.unit_C[0])
    np.testing.assert_allclose((after - before)[..., 0], expected, rtol=1e-3 if expected == 0.5 else 0.1)
    np.testing.assert_array_equal(after[..., 1:], before[..., 1:])


@pytest.mark.parametrize("head", HEADS, ids=str)
@pytest.mark.parametrize("values", NETWORKS, ids=str)
def test_the_future_changes_no_earlier_forecast(values: dict[str, Any], head: dict[str, Any]) -> None:
    config = made.make_config(**values, **head)
    assert_looks_back_alone(stirred(config), random_inputs(), config.window, 3)


@pytest.mark.parametrize("past", [["wind"], []], ids=["past", "no past"])
@pytest.mark.parametrize("head", HEADS, ids=str)
@pytest.mark.parametrize("values", NETWORKS, ids=str)
def test_every_lead_hears_the_newest_step(values: dict[str, Any], head: dict[str, Any], past: list[str]) -> None:
    schema = TWO_TARGETS.model_copy(update={"past": past})
    network = stirred(made.make_config(**values, **head), schema)
    inputs = random_inputs(1)
    inputs = inputs._replace(past_BTP=inputs.past_BTP[:, :, : len(past)].clone())
    read = [part.requires_grad_() for part in inputs if part.shape[2]]
    outputs_NHP = network(*inputs)[0, :, :, 0]
    for n in (0, N - 1):
        newest = L + n * P - 1
        for h in range(H):
            for output in outputs_NHP[n, h]:
                gradients = torch.autograd.grad(output, read, retain_graph=True)
                target, *others, known = (gradient[0].abs() for gradient in gradients)
                assert min(target[newest, 0], *(part[newest].amax() for part in others), known[newest].min()) > 0
                assert max(part[newest + 1 :].max() for part in (target, *others)) == 0
                assert (known[newest + 1 :].amax(1) > 0).nonzero().ravel().tolist() == [h]


@pytest.mark.parametrize("values", NETWORKS, ids=str)
def test_every_origin_of_a_sequence_answers_as_a_window_of_its_own(values: dict[str, Any]) -> None:
    """But for what a body remembers from before the window, so it gets none."""
    config = made.make_config(**values)
    network = stirred(config, SCALED.schema)
    for one in single(network):
        assert isinstance(one, Forecaster)
        one.body = Forgetful(one.body)
    plan = plan_sequences(SCALED, made.PARTS, "train", config.window, 5)
    starts = plan.start_M[plan.num_origins_M == 5][::3]
    rows = starts[:, None] + np.arange(plan.steps)
    columns = (SCALED.target_RC, SCALED.observed_RC, SCALED.past_RP, SCALED.known_RK)
    with torch.inference_mode():
        together = network(*(torch.from_numpy(part[rows]) for part in columns)).numpy()
    assert together.shape[1] == 5
    for n in range(5):
        alone = ask(network, cut_windows(SCALED, starts + L - 1 + n * P, config.window))
        np.testing.assert_allclose(together[:, n], alone[:, 0], atol=1e-4)


@pytest.mark.parametrize("length", [1, 2, 3])
@pytest.mark.parametrize("values", NETWORKS, ids=str)
def test_parts_of_a_sequence_answer_as_the_whole_does(values: dict[str, Any], length: int) -> None:
    network, inputs, num_patches = stirred(made.make_config(**values)).train(), random_inputs(), (T - H) // P
    with torch.no_grad():
        whole, state, parts = network(*inputs), None, []
        for begin in range(0, num_patches, length):
            part, state = network(*inputs, part=(begin, min(begin + length, num_patches)), state=state)
            parts.append(part)
    torch.testing.assert_close(torch.cat(parts, -4), whole, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("linear", ["residual", "trained", "average"])
def test_bfloat16_rounds_what_lies_above_the_level_and_not_the_level(linear: str) -> None:
    """Steps of 1 that lie around 10,000: rounded to 8 bits, the level alone would be off by 20."""
    level, segments = 1e4, replace(SCALED, schema=SCALED.schema.model_copy(update={"past": []}))
    config = linear_config(linear, model__normalisation="mean", train__precision="bfloat16")
    network = taught(config, segments)
    batch = cut_windows(segments, ORIGINS, config.window)
    batch = replace(batch, target_BTC=batch.target_BTC + np.float32(level), past_BTP=batch.past_BTP[:, :, :0])
    plain = ask(network, batch)
    with autocast(config, torch.device("cpu")):
        brief = ask(network, batch)
    above = np.abs(plain - level).max()
    assert 1 < above < 10
    assert 1e-4 < np.abs(brief - plain).max() < above * 2**-7
