"""The LSTM layers of a body as operators whose length is not written into a graph. Knows nothing of what they read.

Shapes: N patches, B sequences, I inputs, D hidden size. torch takes its own LSTM apart into as many steps as an example has;
the layer of its CPU library is one operator, and so is ONNX's LSTM, which it is translated to.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lstm_ray.model.body import Body

LSTM_KIND = 2
"""What oneDNN calls an LSTM."""


class GraphBody(Body):
    """A ``Body`` with the same weights. Reads from its first patch to its last alone, and leaves no state."""

    def __init__(self, body: Body, dtype: torch.dtype = torch.float32) -> None:
        """``dtype``: of the layers' weights and of what they compute."""
        nn.Module.__init__(self)
        self.__dict__.update({**vars(body), "_modules": dict(body._modules)})
        if dtype != torch.float32:
            self.layers = nn.ModuleList(copy.deepcopy(layer).to(dtype) for layer in body.layers)

    def _read(
        self, index: int, inputs_NBI: Tensor, inside_BN: Tensor | None, state: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        layer = self.layers[index]
        assert isinstance(layer, nn.LSTM)
        assert state is None, "a graph begins with nothing read"
        states_NBD = _one_way(layer, inputs_NBI, "")
        if self.directions == 2:
            assert inside_BN is not None, "what reads both ways says where sequences end"
            back_NB1 = _backwards(inside_BN)
            turned_NBI = inputs_NBI.gather(0, back_NB1.expand(-1, -1, inputs_NBI.shape[2]))
            before_NBD = _one_way(layer, turned_NBI, "_reverse")
            before_NBD = before_NBD.gather(0, back_NB1.expand(-1, -1, before_NBD.shape[2]))
            states_NBD = torch.cat([states_NBD, before_NBD], -1) * inside_BN.T[..., None]
        return states_NBD, states_NBD.new_zeros(2, 1)

    def _attend(self, states_NBD: Tensor, inside_BN: Tensor | None, first: int) -> Tensor:
        """As its own, by products and a softmax: torch's module works out its masks from lengths that a graph has not."""
        attention = self.attention
        assert attention is not None
        own_NBD, heads = states_NBD[first:], attention.num_heads
        weights, biases = attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3)
        # [N, B, D] -> [B, heads, N, D / heads]
        query, key, value = (
            functional.linear(read_NBD, weight, bias).unflatten(2, (heads, -1)).permute(1, 2, 0, 3)
            for read_NBD, weight, bias in zip((own_NBD, states_NBD, states_NBD), weights, biases, strict=True)
        )
        score = query @ key.transpose(2, 3) * query.shape[3] ** -0.5
        at_N = torch.arange(states_NBD.shape[0], device=states_NBD.device)
        if inside_BN is not None and self.directions == 2:
            score = score.masked_fill((inside_BN == 0)[:, None, None], float("-inf"))
        else:
            score = score.masked_fill(at_N > at_N[first:, None], float("-inf"))
        heard_NBD = (score.softmax(-1) @ value).permute(2, 0, 1, 3).flatten(2)
        return functional.linear(heard_NBD, attention.out_proj.weight, attention.out_proj.bias)


def _one_way(layer: nn.LSTM, inputs_NBI: Tensor, way: str) -> Tensor:
    weights = [getattr(layer, f"{name}_l0{way}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
    read_NBI = inputs_NBI.to(weights[0].dtype).contiguous()
    nothing_1BD = read_NBI.new_zeros(1, inputs_NBI.shape[1], layer.hidden_size)
    options: tuple[Any, ...] = (False, [], LSTM_KIND, layer.hidden_size, 1, True, False, False, False)
    found: Tensor = torch.ops.aten.mkldnn_rnn_layer.default(read_NBI, *weights, nothing_1BD, nothing_1BD, *options)[0]
    return found.to(inputs_NBI.dtype)


def _backwards(inside_BN: Tensor) -> Tensor:
    """For each patch the one that is as far from its sequence's end as it is from the start, padding left where it is,
    int64 [N, B, 1]."""
    at_N1 = torch.arange(inside_BN.shape[1], device=inside_BN.device)[:, None]
    length_B = inside_BN.sum(1).long()
    return torch.where(at_N1 < length_B, length_B - 1 - at_N1, at_N1)[..., None]
