"""Networks trained side by side, and how much of the answer is whose. Knows nothing of what they read or answer.

Shapes: E members, each of one of K kinds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


class Ensemble(nn.Module):
    """Members differ in the weights they start from and in their dropout, and kinds of them in what they read: what they
    agree on is what the data says (Lakshminarayanan et al. 2017).

    In training it answers for each member that still learns, [learners, ...]. Else it answers once: with the weighted
    sum, of logits as of forecasts (a distribution's parameters too), so quantiles stay in order.
    """

    weight_E: Tensor

    def __init__(self, members: Sequence[nn.Module], kind_E: Sequence[int] | None = None) -> None:
        """``kind_E``: number of each member's kind, from 0, ascending; none: all are of one."""
        super().__init__()
        self.members = nn.ModuleList(members)
        self.kind_E = tuple(kind_E or [0] * len(members))
        self.learners = [e for e, member in enumerate(members) if learns(member)]
        """Members that training moves, by number; whoever trains says when one has learned enough."""
        self.register_buffer("weight_E", self.mean_of(range(self.kinds)))

    @property
    def kinds(self) -> int:
        return self.kind_E[-1] + 1

    def mean_of(self, kinds: Sequence[int], part_K: Sequence[int] | None = None) -> Tensor:
        """Weights by which some kinds answer, each by its parts (none: all alike), and within a kind each member, [E]."""
        parts = {kind: (part_K or [1] * self.kinds)[kind] for kind in kinds}
        share_E = [parts.get(kind, 0) / (sum(parts.values()) * self.kind_E.count(kind)) for kind in self.kind_E]
        return torch.tensor(share_E)

    def forward(
        self, *inputs: Tensor | None, state: Tensor | None = None, each: Sequence[int] | None = None, **options: Any
    ) -> Any:
        """As the members are called.

        Args:
            state: of all that learn, [learners, ...].
            each: answer for each of these members, [len(each), ...], in training or not.
        """
        if "part" in options:
            heard = [self.members[e] for e in (self.learners if self.training else range(len(self.members)))]
            given = [None] * len(heard) if state is None else list(state.unbind(0))
            found = [member(*inputs, state=one, **options) for member, one in zip(heard, given, strict=True)]
            return torch.stack([answer for answer, _ in found]), torch.stack([after for _, after in found])
        if each is None and self.training:
            each = self.learners
        if each is not None:
            return torch.stack([self.members[e](*inputs, **options) for e in each])
        heard_E = self.weight_E.nonzero().flatten().tolist()
        return sum((self.weight_E[e] * self.members[e](*inputs, **options) for e in heard_E), torch.zeros(()))


def learns(network: nn.Module) -> bool:
    """Whether there is anything in it for training to move."""
    return next(network.parameters(), None) is not None
