"""Starting a network from another's weights, what is new in it silent at first. Knows nothing of where they come from."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from lstm_ray.model.network import Classifier, Forecaster
from lstm_ray.model.training import load_matching

FIRST = "body.layers.0.weight_ih_l0"


def warm_start(network: Forecaster | Classifier, weights: Mapping[str, Tensor]) -> float:
    """Copy the weights that fit and silence new parts that add to what was there.

    A new residual layer, or attention, then changes nothing before its first step of training (Net2Net, Chen et al.
    2016). Layers without a residual path replace their input and cannot be silenced; they start at random.

    Returns:
        Share of the network's parameters that were copied. 0, and nothing is copied, where the first layer does not
        fit: what reads the states of another width or input has nothing to go on.
    """
    if FIRST not in weights or weights[FIRST].shape != network.state_dict()[FIRST].shape:
        return 0.0
    body = network.body
    for index, layer in enumerate(body.layers):
        if body.residual and f"body.layers.{index}.weight_ih_l0" not in weights:
            _silence(layer)
    if body.attention is not None and "body.attention.out_proj.weight" not in weights:
        nn.init.zeros_(body.attention.out_proj.weight)
        nn.init.zeros_(body.attention.out_proj.bias)
    return load_matching(network, weights)


def _silence(layer: nn.Module) -> None:
    """Zero what writes into an LSTM layer's cell, so that its output is zero and stays so until a gradient moves it.

    The four gates lie below one another as input, forget, cell, output. With a cell gate of tanh(0) the cell stays 0.
    Its recurrent weights only ever see that zero state, so they may keep their values.
    """
    with torch.no_grad():
        for name, weight in layer.named_parameters():
            if not name.startswith("weight_hh"):
                weight.chunk(4)[2].zero_()
