"""A trial that begins with the trained policy's function is told from one that merely begins warm."""

from __future__ import annotations

import pytest
import torch

from lstm_ray.evaluate.choosing.beginnings import begins_unchanged
from tests import made

SEGMENTS = made.segments_of([240, 240])
LINEAR = {"model__linear": "average", "model__normalisation": "last"}


def trained(config, segments):
    """A policy whose weights are far from those that any seed draws."""
    policy = made.random_policy(config, segments)
    torch.manual_seed(5)
    with torch.no_grad():
        for value in policy.network.state_dict().values():
            value += 0.1 * torch.randn_like(value)
    return policy


def begins(given, wanted):
    return begins_unchanged(
        made.make_config(**given, **wanted), trained(made.make_config(**given), SEGMENTS), SEGMENTS, made.PARTS
    )


@pytest.mark.parametrize("given", [{}, LINEAR, {"model__quantiles": [0.1, 0.5, 0.9]}], ids=str)
@pytest.mark.parametrize(
    "wanted",
    [
        {"train__learning_rate": 0.1, "model__dropout": 0.3},
        {"model__hidden": 12},
        {"model__layers": 2, "model__residual": True},
        {"model__attention": True},
    ],
    ids=str,
)
def test_what_was_grown_in_silence_is_unchanged(given, wanted):
    assert begins(given, wanted)


@pytest.mark.parametrize(
    "wanted",
    [
        {"model__layers": 2},
        {"model__hidden": 4},
        {"window__patch": 6},
        {"window__history": 24},
        {"model__normalisation": "mean_deviation"},
    ],
    ids=str,
)
def test_what_answers_otherwise_is_not(wanted):
    assert not begins({}, wanted)


def test_other_normalisations_fit_every_shape_and_answer_otherwise():
    assert not begins({"model__normalisation": "none"}, {"model__layer_norm": True})


def test_classifiers_and_labellers_are_compared_by_what_they_tell():
    sequences = made.sequences_of([8, 12, 10, 9] * 4)
    parts = {"train": (0, 24 * 8), "validation": (24 * 8, 24 * 12), "test": (24 * 12, 24 * 16)}
    base = trained(made.classify_config(window__history=12), sequences)
    wider = made.classify_config(window__history=12, model__hidden=12)
    summed = made.classify_config(window__history=12, model__pooling="max")
    assert begins_unchanged(wider, base, sequences, parts)
    assert not begins_unchanged(summed, base, sequences, parts)
    labelled = made.labelled_of([240])
    base = trained(made.label_config(), labelled)
    assert begins_unchanged(made.label_config(model__hidden=12), base, labelled, made.PARTS)
    assert not begins_unchanged(made.label_config(window__patch=2), base, labelled, made.PARTS)
