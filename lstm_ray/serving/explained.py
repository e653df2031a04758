"""What an explanation looks like in an answer, and how one is asked for. Knows no policy.

A request asks with ``"explain": true``; each answer then has an ``explanation``.
"""

from __future__ import annotations

from pydantic import BaseModel, Field

MAX_SERIES = 16
"""Explained in one request."""
METHOD = "integrated gradients from typical inputs, each at its training centre (Sundararajan et al. 2017)"
ASK = Field(
    default=False,
    description=f"explain each answer, by what moved it: of at most {MAX_SERIES} series, at some ten times the cost of an "
    "answer. A request that asks why is somebody's question: its inputs count as no drift and its answers are not scored",
)


class Stretch(BaseModel):
    first: str | int
    last: str | int
    ahead: bool = Field(description="behind the history: of it known inputs alone are read")


class Moved(BaseModel):
    answer: float
    baseline: float = Field(description="the answer to typical inputs")
    inputs: dict[str, float] = Field(
        description="contribution of each input; with the gap they add up to answer - baseline"
    )
    stretches: dict[str, list[float]] = Field(description="the same by stretch")
    gap: float = Field(description="what the integral, taken over points, leaves out")


class Explanation(BaseModel):
    of: str = Field(description="what is explained, in words, and its unit")
    method: str = METHOD
    stretches: list[Stretch] = Field(description="patches of the history, oldest first, and what lies ahead")
    answers: dict[str, Moved] = Field(description="by target, class told or label")
