"""Networks trained side by side, and how much of the answer is whose. Knows nothing of what they read or answer.

Shapes: E members, K kinds of E / K members each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


class Ensemble(nn.Module):
    """Members differ in the weights they start from and in their dropout, and kinds of them in what they read: what they
    agree on is what the data says (Lakshminarayanan et al. 2017).

    In training it answers for each member, [E, ...], so that each learns as if it were alone. Else it answers once: with
    the weighted mean, of logits as of forecasts (a distribution's parameters too), so quantiles stay in order.
    """

    weight_E: Tensor

    def __init__(self, members: Sequence[nn.Module], kinds: int = 1) -> None:
        super().__init__()
        self.members, self.kinds = nn.ModuleList(members), kinds
        self.register_buffer("weight_E", torch.full((len(members),), 1 / len(members)))

    def choices(self) -> list[Tensor]:
        """The weights there may be: all alike, or one kind alone. Nothing finer: what a short validation part would tell
        apart is mostly luck."""
        equal = torch.full_like(self.weight_E, 1 / len(self.members))
        each = torch.arange(len(self.members), device=equal.device) // (len(self.members) // self.kinds)
        alone = [self.kinds * equal * (each == kind) for kind in range(self.kinds)]
        return [equal, *alone] if self.kinds > 1 else [equal]

    def forward(self, *inputs: Tensor | None, state: Tensor | None = None, **options: Any) -> Any:
        """As the members are called; ``state`` carries all of theirs, [E, ...]."""
        if "part" not in options:
            heard = self.members if self.training else [self.members[e] for e in self.weight_E.nonzero().flatten()]
            return self._joined([member(*inputs, **options) for member in heard])
        given = [None] * len(self.members) if state is None else list(state.unbind(0))
        found = [member(*inputs, state=one, **options) for member, one in zip(self.members, given, strict=True)]
        return torch.stack([answer for answer, _ in found]), torch.stack([after for _, after in found])

    def _joined(self, answers: list[Tensor]) -> Tensor:
        if self.training:
            return torch.stack(answers)
        weights = self.weight_E[self.weight_E > 0].tolist()
        return sum((weight * answer for weight, answer in zip(weights, answers, strict=True)), torch.zeros(()))
