"""The probe of causality: what a network that forecasts at every origin may hear of what lies after it.

Shapes as in ``network.py``: B sequences, T steps, N origins, H horizon, C targets, P parameters.
"""

from __future__ import annotations

import torch
from torch import nn

from lstm_ray.model.network import Inputs
from lstm_ray.sections.prepare import WindowConfig

CHANGED = 7.0
"""A value that no input has by itself."""


def assert_looks_back_alone(network: nn.Module, inputs: Inputs, window: WindowConfig, num_parameters: int) -> None:
    """What lies after an origin, but for the known inputs of its horizon, changes no answer up to it and the one after.

    Args:
        network: in evaluation, every part of it at random.
        inputs: of T steps, random.
    """
    history, horizon, patch = window.history, window.horizon, window.patch
    batch, steps, channels = inputs.target_BTC.shape
    num_origins = (steps - history - horizon) // patch + 1
    with torch.inference_mode():
        before_BNHCP = network(*inputs)
        assert before_BNHCP.shape == (batch, num_origins, horizon, channels, num_parameters)
        for n in range(num_origins - 1):
            after_origin = history + n * patch
            later = Inputs(*(part.clone() for part in inputs))
            for part in later[:3]:
                part[:, after_origin:] = CHANGED
            later.observed_BTC[:, after_origin:] = 0.0
            later.known_BTK[:, after_origin + horizon :] = CHANGED
            after_BNHCP = network(*later)
            torch.testing.assert_close(after_BNHCP[:, : n + 1], before_BNHCP[:, : n + 1], rtol=0, atol=1e-6)
            assert (after_BNHCP[:, n + 1] - before_BNHCP[:, n + 1]).abs().amax((0, 2)).min() > 1e-6
