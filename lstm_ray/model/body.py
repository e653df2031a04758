"""The LSTM layers that turn patches into states, shared by every network. Knows nothing of what its inputs mean.

Shapes: N patches, B sequences read side by side, I inputs of one LSTM step, D width of a state. Patches come first, as the
recurrence runs: whatever follows reads the newest states as one unbroken block of memory.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from lstm_ray.config import Config


class Body(nn.Module):
    """Stacked LSTM layers: [N, B, I] -> [N, B, D]. Residual paths, layer norm (Ba et al. 2016) and attention are optional.

    The norm acts on what a layer adds, not on the sum, so a residual path stays open from the first layer to the last.
    """

    def __init__(self, num_inputs: int, config: Config) -> None:
        super().__init__()
        model = config.model
        self.directions = 2 if model.bidirectional else 1
        self.residual = model.residual
        width = self.width = model.hidden * self.directions
        sizes = [num_inputs] + [width] * (model.layers - 1)
        self.layers = nn.ModuleList(nn.LSTM(size, model.hidden, bidirectional=model.bidirectional) for size in sizes)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in sizes) if model.layer_norm else None
        self.dropout = Dropout(model.dropout)
        heads = 4 if width % 4 == 0 else 1
        self.attention = nn.MultiheadAttention(width, heads) if model.attention else None
        for layer in self.layers:
            _initialise(layer, config)

    def forward(
        self, inputs_NBI: Tensor, inside_BN: Tensor | None = None, state: Tensor | None = None, first: int = 0
    ) -> tuple[Tensor, Tensor]:
        """States of the patches from ``first`` on, and the state to go on from.

        Args:
            inside_BN: 1 for real patches and 0 for padding after them; only reading backwards would see padding.
            state: [2, layers, B, hidden], the hidden states and cells that an earlier call left; None: zeros. Of one
                direction alone.
            first: the patches before it are read and not answered.
        """
        ends, states_NBD = [], inputs_NBI
        for index in range(len(self.layers)):
            read_NBD, end = self._read(index, states_NBD, inside_BN, state)
            ends.append(end)
            if index == len(self.layers) - 1 and self.attention is None:
                read_NBD, states_NBD = read_NBD[first:], states_NBD[first:]
            if self.norms is not None:
                read_NBD = self.norms[index](read_NBD)
            read_NBD = self.dropout(read_NBD)
            states_NBD = states_NBD + read_NBD if index and self.residual else read_NBD
        if self.attention is not None:
            assert state is None, "attention would forget what lies before the part"
            states_NBD = states_NBD[first:] + self._attend(states_NBD, inside_BN, first)
        return states_NBD, torch.stack(ends, 1)

    def _read(
        self, index: int, inputs_NBI: Tensor, inside_BN: Tensor | None, state: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """One layer's outputs, and its last hidden state and cell as [2, B, directions * hidden]."""
        layer = self.layers[index]
        before = None if state is None else (state[0][index][None], state[1][index][None])
        if inside_BN is None or self.directions == 1:
            states_NBD, ends = layer(inputs_NBI, before)
        else:
            packed = pack_padded_sequence(inputs_NBI, inside_BN.sum(1).long().cpu(), enforce_sorted=False)
            read, ends = layer(packed, before)
            states_NBD = pad_packed_sequence(read, total_length=len(inputs_NBI))[0]
        return states_NBD, torch.stack([end.transpose(0, 1).flatten(1) for end in ends])

    def _attend(self, states_NBD: Tensor, inside_BN: Tensor | None, first: int) -> Tensor:
        """What each patch from ``first`` on hears of those before it; of all that hold data, where the body reads both ways."""
        assert self.attention is not None
        num_patches = len(states_NBD)
        future_NN = torch.ones(num_patches, num_patches, dtype=torch.bool, device=states_NBD.device).triu(1)[first:]
        mask, padding_BN = (
            (None, inside_BN == 0) if inside_BN is not None and self.directions == 2 else (future_NN, None)
        )
        heard_NBD, _ = self.attention(
            states_NBD[first:], states_NBD, states_NBD, key_padding_mask=padding_BN, attn_mask=mask, need_weights=False
        )
        return self.dropout(heard_NBD)


class Dropout(nn.Module):
    """Drops a share of the values in training and makes up for it in the rest (Srivastava et al. 2014).

    On a CPU, torch's own draws a random number for every value; the mask of a batch then takes a sixth of the time of a
    whole step. Here one number of 64 bits serves four values.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, values: Tensor) -> Tensor:
        if not self.training or self.share == 0:
            return values
        if values.device.type != "cpu":
            return functional.dropout(values, self.share)
        numbers = torch.empty(-(-values.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
        kept = numbers.view(torch.int16)[: values.numel()].view(values.shape) >= round(self.share * 2**16) - 2**15
        return values * kept.to(values.dtype).mul_(1 / (1 - self.share))


def _initialise(layer: nn.Module, config: Config) -> None:
    """Orthogonal recurrence (Saxe et al. 2014) and an open forget gate (Jozefowicz et al. 2015).

    ``uniform`` leaves recurrent weights as torch draws them, within 1 / sqrt(hidden).
    """
    hidden = config.model.hidden
    for name, weight in layer.named_parameters():
        if name.startswith("weight_hh") and config.model.recurrent_init == "orthogonal":
            for gate in weight.data.split(hidden):
                nn.init.orthogonal_(gate)
        elif name.startswith("bias"):
            weight.data.zero_()
            if name.startswith("bias_ih"):
                weight.data[hidden : 2 * hidden] = config.model.forget_bias
