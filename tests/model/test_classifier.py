"""A class does not depend on what a sequence is batched with, and every pooling counts the patches that hold data."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch

from lstm_ray.data.windows import cut_sequences
from lstm_ray.model.network import Classifier, build
from tests import made

POOLINGS = ("last", "mean", "max", "attention")
LENGTHS = (12, 3, 7, 4)


def classifier(segments: Any, **values: Any) -> Classifier:
    network = build(made.classify_config(**values), segments.schema).eval()
    assert isinstance(network, Classifier)
    return network


def tensors(batch: Any) -> list[torch.Tensor]:
    return [torch.from_numpy(part) for part in (batch.past_BTP, batch.known_BTK, batch.origin_BN)]


@pytest.mark.parametrize(
    ("pooling", "bidirectional", "attention", "norm"), list(product(POOLINGS, *[(False, True)] * 3)), ids=str
)
def test_a_sequence_is_classified_alike_whatever_it_is_batched_with(
    pooling: str, bidirectional: bool, attention: bool, norm: bool
) -> None:
    segments = made.sequences_of(LENGTHS)
    values = {"pooling": pooling, "bidirectional": bidirectional, "attention": attention, "layer_norm": norm}
    network = classifier(segments, model__layers=2, **{f"model__{name}": value for name, value in values.items()})
    inputs = tensors(cut_sequences(segments, np.arange(4), 12, patch=4))
    padding_BN = inputs[2] == 0
    with torch.inference_mode():
        together = network(*inputs)
        for part in inputs[:2]:
            part[padding_BN.repeat_interleave(4, dim=1)] = 99.0
        torch.testing.assert_close(network(*inputs), together, rtol=1e-5, atol=1e-6)
        for item, length in enumerate(LENGTHS):
            alone = network(*tensors(cut_sequences(segments, np.array([item]), length, patch=4)))
            torch.testing.assert_close(alone[0], together[item], rtol=1e-4, atol=1e-5)


def test_each_pooling_is_what_it_says() -> None:
    segments = made.sequences_of(LENGTHS)
    states_BND, inside_BN = torch.randn(2, 3, 8), torch.tensor([[1.0, 1, 1], [1, 1, 0]])
    first, second = states_BND[0], states_BND[1, :2]
    for pooling in POOLINGS:
        network = classifier(segments, model__pooling=pooling)
        with torch.inference_mode():
            found = network._pooled(states_BND, inside_BN)
            for states, pooled in ((first, found[0]), (second, found[1])):
                expected = {
                    "last": states[-1],
                    "mean": states.mean(0),
                    "max": states.amax(0),
                    "attention": network.query and network.query(states).softmax(0).T @ states,
                }[pooling]
                torch.testing.assert_close(pooled, expected.flatten())


def test_attention_pooling_learns_where_to_look() -> None:
    """The class is told by one patch among noise; its place changes."""
    segments = made.sequences_of(LENGTHS)
    network = classifier(segments, model__pooling="attention").train()
    draw = torch.Generator().manual_seed(0)
    past, label = torch.randn(64, 12, 1, generator=draw) / 10, torch.randint(2, (64,), generator=draw)
    place = torch.randint(3, (64,), generator=draw)
    past.view(64, 3, 4)[torch.arange(64), place] += 2 * (2 * label[:, None] - 1).float()
    known, inside_BN = torch.zeros(64, 12, segments.schema.num_known), torch.ones(64, 3)
    step = torch.optim.Adam(network.parameters(), lr=0.03)
    for _ in range(40):
        loss = torch.nn.functional.cross_entropy(network(past, known, inside_BN), label)
        step.zero_grad()
        loss.backward()
        step.step()
    assert network.query is not None
    assert network.query.weight.grad is not None
    assert network.query.weight.grad.any()
    assert (network(past, known, inside_BN).argmax(-1) == label).float().mean() > 0.95


def test_categories_move_classes_and_none_means_unseen() -> None:
    segments = made.sequences_of(LENGTHS)
    schema = segments.schema.model_copy(update={"categories": {"device": ["a", "b"]}})
    network = build(made.classify_config(), schema).eval()
    inputs = tensors(cut_sequences(segments, np.arange(4), 12, patch=4))
    with torch.inference_mode():
        unseen, told = network(*inputs), network(*inputs, torch.tensor([[0], [1], [2], [0]]))
    torch.testing.assert_close(told[[0, 3]], unseen[[0, 3]])
    assert (told[1:3] - unseen[1:3]).abs().amax(1).min() > 1e-4


def test_each_lstm_step_reads_its_patch_and_the_one_before() -> None:
    segments = made.sequences_of(LENGTHS)
    schema = segments.schema.model_copy(update={"categories": {"device": ["a", "b"]}})
    network: Any = build(made.classify_config(), schema).eval()
    read = []
    network.body.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0].transpose(0, 1)))
    past, known, inside = tensors(cut_sequences(segments, np.arange(4), 12, patch=4))
    with torch.inference_mode():
        network(past, known, inside)
    patch_BNI = torch.cat([past, known], -1).reshape(4, 3, -1)
    width = patch_BNI.shape[2]
    assert read[0].shape[2] == 2 * width + network.categories.width
    torch.testing.assert_close(read[0][:, :, width : 2 * width], patch_BNI)
    torch.testing.assert_close(read[0][:, 1:, :width], patch_BNI[:, :-1])
    assert not read[0][:, 0, :width].any()
