"""A class or a value for every step of a sequence. Knows nothing of data files or training.

Shapes: B sequences, T steps, N patches of p steps, P past and K known inputs, S categorical statics, I inputs of one LSTM
step, D width of a state, A answers for one step: its classes, or its value alone.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lstm_ray.config import Config
from lstm_ray.data.schema import Schema
from lstm_ray.model.body import Body
from lstm_ray.model.inputs import Categories, overlapping_patches


class Labeller(nn.Module):
    """The body of a forecaster, which tells the steps of each patch from the state after it.

    So a step's label is told from its patch and what lies before: with patches of one step from nothing later than itself,
    else from up to p - 1 steps after it. A bidirectional body also sees what follows.
    """

    def __init__(self, config: Config, schema: Schema) -> None:
        super().__init__()
        self.patch = config.window.patch
        self.answers = len(schema.classes) or 1
        num_inputs = 2 * self.patch * (2 * len(schema.past) + schema.num_known)
        self.categories = Categories(schema.categories) if schema.categories else None
        num_inputs += self.categories.width if self.categories else 0
        self.body = Body(num_inputs, config)
        self.head = nn.Linear(self.body.width, self.patch * self.answers)
        # A linear map past the LSTM, as a forecaster's: what a step's own inputs say plainly need not pass the state.
        self.newest = nn.Linear(num_inputs, self.patch * self.answers, bias=False)
        nn.init.zeros_(self.newest.weight)

    def forward(
        self,
        past_BTP: Tensor,
        observed_BTP: Tensor,
        known_BTK: Tensor,
        inside_BN: Tensor,
        category_BS: Tensor | None = None,
    ) -> Tensor:
        """Scaled inputs to class logits, or scaled values, of every step [B, T, A].

        Args:
            observed_BTP: 1 where a past input was measured, 0 where it was filled in.
            inside_BN: 1 for patches that hold data, 0 for the padding after them.
            category_BS: int64 codes of the categorical statics; None: all unseen.
        """
        inputs_BNI = overlapping_patches(torch.cat([past_BTP, observed_BTP, known_BTK], -1), self.patch)
        if self.categories is not None:
            static_BNI = self.categories(category_BS, past_BTP.shape[0])[:, None].expand(-1, inputs_BNI.shape[1], -1)
            inputs_BNI = torch.cat([inputs_BNI, static_BNI], -1)
        states_BND = self.body(inputs_BNI.transpose(0, 1).contiguous(), inside_BN)[0].transpose(0, 1)
        answer_BNI: Tensor = self.head(states_BND) + self.newest(inputs_BNI)
        # [B, N, p A] -> [B, T, A]
        return answer_BNI.unflatten(2, (self.patch, self.answers)).flatten(1, 2)
