"""What fixed convolutions count: the same as a slow reference does, whatever a sequence is batched with.

Shapes as in ``kernels.py``: B sequences, T steps, F inputs, J kernels, V dilations, W thresholds, L weights.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lstm_ray.data.windows import Segments, cut_sequences
from lstm_ray.model import kernels
from lstm_ray.model.kernels import HEAVY, LENGTH, MAX_MIXED, KernelRidge, dilations
from tests import made

LENGTHS = (70, 9, 33, 41, 12)


@pytest.fixture(autouse=True)
def few_features(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "FEATURES", 2 * 84 * 4)


def sequences(past: int = 3, calendar: tuple[str, ...] = (), lengths: tuple[int, ...] = LENGTHS) -> Segments:
    """Scaled sequences of some inputs."""
    schema = made.schema_of(
        target=(), past=[f"p{i}" for i in range(past)], calendar=calendar, classes=("down", "up", "flat")
    )
    segments = made.segments_of(lengths, [100 * index for index in range(len(lengths))], schema)
    segments = Segments(**vars(segments) | {"label": np.arange(len(lengths)) % 3})
    return segments.scaled(made.scaler_of(segments))


def network_of(segments: Segments, patch: int = 1, **values: Any) -> KernelRidge:
    """Its thresholds read from all of the segments."""
    config = made.classify_config(
        window__history=72,
        window__patch=patch,
        data__past=list(segments.schema.past),
        model__linear="average",
        **values,
    )
    network = KernelRidge(config, segments.schema)
    ids_M = np.arange(len(segments.series))
    network.threshold_VJW.copy_(torch.from_numpy(network.thresholds(*cut_of(segments, ids_M, patch=patch))))
    return network


def cut_of(segments: Segments, ids_M: NDArray, steps: int = 72, patch: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    return kernels.read(cut_sequences(segments, ids_M, steps, patch))


def inputs_of(segments: Segments, one: int) -> NDArray:
    """One sequence's own steps, float64 [T, F]."""
    rows = slice(segments.bounds[one], segments.bounds[one + 1])
    return np.concatenate([segments.past_RP[rows], segments.known_RK[rows]], 1).astype(np.float64)


def outputs_by_hand(network: KernelRidge, inputs_TF: NDArray, dilation: int, kernel: int) -> NDArray:
    """A step at a time; what lies beyond the ends adds nothing."""
    weight_FL = network.weight_VJFL[dilation, kernel].double().numpy()
    apart, steps = network.dilations[dilation], len(inputs_TF)
    output_T = np.zeros(steps)
    for t in range(steps):
        for place in range(LENGTH):
            at = t + (place - LENGTH // 2) * apart
            if 0 <= at < steps:
                output_T[t] += weight_FL[:, place] @ inputs_TF[at]
    return output_T.astype(np.float32)


def features_by_hand(network: KernelRidge, inputs_TF: NDArray) -> NDArray:
    """[V, W, J] raveled."""
    found = []
    for dilation, threshold_JW in enumerate(network.threshold_VJW.numpy()):
        output_JT = np.array([outputs_by_hand(network, inputs_TF, dilation, j) for j in range(len(threshold_JW))])
        found += [(output_JT > threshold_J[:, None]).mean(1) for threshold_J in threshold_JW.T]
    return np.concatenate(found)


def test_the_kernels_are_all_that_have_three_heavy_weights_and_ignore_the_level() -> None:
    weight_VJFL = kernels.kernels(inputs=12, num_dilations=4, seed=3)
    assert weight_VJFL.shape == (4, 84, 12, LENGTH)
    assert not weight_VJFL.sum(-1).any(), "a level adds nothing"
    heavy = list(combinations(range(LENGTH), HEAVY))
    mixed = []
    for weight_JFL in weight_VJFL:
        for weight_FL, places in zip(weight_JFL, heavy, strict=True):
            read = weight_FL.any(1)
            expected = [2.0 if place in places else -1.0 for place in range(LENGTH)]
            assert all(own.tolist() == expected for own in weight_FL[read])
            mixed.append(int(read.sum()))
    assert (min(mixed), max(mixed)) == (1, MAX_MIXED - 1)
    assert weight_VJFL.any((1, 3)).all(), "every dilation hears every input"
    assert torch.equal(weight_VJFL, kernels.kernels(12, 4, 3))
    assert not torch.equal(weight_VJFL, kernels.kernels(12, 4, 4))
    assert kernels.kernels(1, 2, 0).any(-1).all()


@pytest.mark.parametrize(
    ("steps", "found"), [(1, [1]), (9, [1]), (16, [1]), (17, [1, 2]), (33, [1, 2, 4]), (150, [1, 2, 4, 8, 16])]
)
def test_dilations_double_while_a_kernel_lies_within_the_steps(steps: int, found: list[int]) -> None:
    assert dilations(steps) == found
    assert all((LENGTH - 1) * one + 1 <= max(steps, LENGTH) for one in found)


@pytest.mark.parametrize("calendar", [(), ("hour",)], ids=str)
@pytest.mark.parametrize("past", [1, 3])
def test_features_are_those_of_a_slow_reference(past: int, calendar: tuple[str, ...]) -> None:
    segments = sequences(past, calendar)
    network = network_of(segments)
    assert network.dilations == [1, 2, 4, 8]
    found_BA = network.features(*cut_of(segments, np.arange(5))).numpy()
    assert found_BA.shape == (5, network.ridge_AK.shape[0] - 1)
    for one in range(5):
        expected_A = features_by_hand(network, inputs_of(segments, one))
        np.testing.assert_allclose(found_BA[one], expected_A, atol=1e-6)
    assert ((found_BA > 0.02) & (found_BA < 0.98)).mean() > 0.7, "thresholds lie among the outputs"


@pytest.mark.parametrize("patch", [1, 4])
def test_padding_and_company_change_no_feature(patch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the bit: a calendar's outputs equal thresholds, and a last digit would move them across."""
    segments = sequences(calendar=("hour", "weekday"))
    network = network_of(segments, patch)
    together_BA = network.features(*cut_of(segments, np.arange(5), patch=patch))
    for one, length in enumerate(LENGTHS):
        alone_BA = network.features(*cut_of(segments, np.array([one]), length, patch))
        assert torch.equal(alone_BA[0], together_BA[one])
    order = np.array([4, 1, 0])
    assert torch.equal(network.features(*cut_of(segments, order, patch=patch)), together_BA[order])
    monkeypatch.setattr(kernels, "CHUNK_VALUES", 1)
    assert torch.equal(network.features(*cut_of(segments, np.arange(5), patch=patch)), together_BA)


@pytest.mark.parametrize("inputs", [1, 12])
def test_outputs_are_the_same_to_the_bit_in_any_order_and_batch(inputs: int) -> None:
    config = made.classify_config(
        window__history=72, data__past=[f"p{i}" for i in range(inputs)], model__linear="average"
    )
    schema = made.schema_of(target=(), past=config.data.past, calendar=(), classes=("a", "b"))
    network, draw = KernelRidge(config, schema), torch.Generator().manual_seed(0)
    inputs_BTF = 3 * torch.randn(40, 64, inputs, generator=draw)
    for dilation in range(len(network.dilations)):
        whole = network.outputs(inputs_BTF, dilation)
        assert whole.dtype == torch.float32
        for size in (1, 7):
            parts = [network.outputs(some, dilation) for some in inputs_BTF.split(size)]
            assert torch.equal(torch.cat(parts), whole)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(network.outputs(inputs_BTF, dilation), whole)


def test_thresholds_are_quantiles_of_the_outputs_that_are_spread_evenly() -> None:
    segments = sequences()
    network = network_of(segments)
    again = network.thresholds(*cut_of(segments, np.arange(5)))
    np.testing.assert_array_equal(again, network.threshold_VJW.numpy())
    assert again.dtype == np.float32
    output_M = [
        np.concatenate([outputs_by_hand(network, inputs_of(segments, one), v, j) for one in range(5)])
        for v, j in ((0, 0), (2, 40), (3, 83))
    ]
    below = [(output_M[i][:, None] <= again[v, j]).mean(0) for i, (v, j) in enumerate(((0, 0), (2, 40), (3, 83)))]
    count = again[0, 0].size
    number = [np.arange(count) + count * (84 * v + j) for v, j in ((0, 0), (2, 40), (3, 83))]
    for found_W, number_W in zip(below, number, strict=True):
        np.testing.assert_allclose(found_W, (number_W + 1) * kernels.GOLDEN % 1, atol=0.01)
    # All kernels together look at every level alike.
    places = np.sort(np.arange(1, 1 + again.size) * kernels.GOLDEN % 1)
    assert np.diff(places, prepend=0, append=1).max() < 3 / again.size


def test_scores_are_the_ridge_s_of_the_features_and_categories_go_unread() -> None:
    segments = sequences(calendar=("hour",))
    network = network_of(segments)
    batch = cut_sequences(segments, np.arange(5), 72, 1)
    torch.nn.init.normal_(network.ridge_AK, generator=torch.Generator().manual_seed(0))
    given = [torch.from_numpy(part) for part in (batch.past_BTP, batch.known_BTK, batch.origin_BN)]
    features_BA = network.features(*kernels.read(batch))
    expected = network.ridge_AK[0] + features_BA @ network.ridge_AK[1:]
    torch.testing.assert_close(network(*given), expected)
    torch.testing.assert_close(network(*given, torch.ones(5, 1, dtype=torch.int64)), expected)
    assert list(network.parameters()) == [], "nothing of it is learned by gradients"
