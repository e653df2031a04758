"""One class for a whole sequence. Knows nothing of data files or training.

Shapes: B sequences, T steps, N patches, P past and K known inputs, D width of a state.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lstm_ray.config import Config
from lstm_ray.data.schema import Schema
from lstm_ray.model.body import Body
from lstm_ray.model.inputs import Categories, overlapping_patches


class Classifier(nn.Module):
    """The body of a forecaster, pooled over the patches that hold data.

    Each LSTM step reads its patch and the one before.
    """

    def __init__(self, config: Config, schema: Schema) -> None:
        super().__init__()
        self.patch, self.pooling = config.window.patch, config.model.pooling
        num_inputs = 2 * self.patch * (len(schema.past) + schema.num_known)
        self.categories = Categories(schema.categories) if schema.categories else None
        self.body = Body(num_inputs + (self.categories.width if self.categories else 0), config)
        self.head = nn.Linear(self.body.width, len(schema.classes))
        # A learned query weighs the patches: attention of one head without keys of its own (Yang et al. 2016).
        self.query = nn.Linear(self.body.width, 1, bias=False) if self.pooling == "attention" else None

    def forward(
        self, past_BTP: Tensor, known_BTK: Tensor, origin_BN: Tensor, category_BS: Tensor | None = None
    ) -> Tensor:
        """Scaled inputs to class logits [B, classes].

        Args:
            origin_BN: 1 for patches that hold data, 0 for the padding after them.
            category_BS: int64 codes of the sequence's categorical columns; None: all unseen.
        """
        inputs_BNI = overlapping_patches(torch.cat([past_BTP, known_BTK], -1), self.patch)
        if self.categories is not None:
            static_BNI = self.categories(category_BS, past_BTP.shape[0])[:, None].expand(-1, inputs_BNI.shape[1], -1)
            inputs_BNI = torch.cat([inputs_BNI, static_BNI], -1)
        states_BND = self.body(inputs_BNI.transpose(0, 1).contiguous(), origin_BN)[0].transpose(0, 1)
        logits: Tensor = self.head(self._pooled(states_BND, origin_BN))
        return logits

    def _pooled(self, states_BND: Tensor, inside_BN: Tensor) -> Tensor:
        """[B, N, D] -> [B, D], padding not counted."""
        inside_BN1 = inside_BN[..., None]
        if self.pooling == "mean":
            return (states_BND * inside_BN1).sum(1) / inside_BN1.sum(1)
        if self.pooling == "max":
            return states_BND.masked_fill(inside_BN1 == 0, float("-inf")).amax(1)
        if self.query is not None:
            weight_BN1 = self.query(states_BND).masked_fill(inside_BN1 == 0, float("-inf")).softmax(1)
            return (states_BND * weight_BN1).sum(1)
        last_B = inside_BN.sum(1).long() - 1
        return states_BND[torch.arange(last_B.shape[0], device=last_B.device), last_B]
