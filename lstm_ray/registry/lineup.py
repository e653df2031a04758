"""Which policies are served, and as what: plain values that every replica is told."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Version = Annotated[str, Field(pattern=r"^[0-9A-Za-z_-]{1,64}$")]
"""Of a policy. It names a folder beside the others, so it may lead nowhere else."""


class Lineup(BaseModel):
    """One moment's assignment of policies, by version."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sequence: int
    """Grows with every change."""
    champion: Version
    canary: Version | None = None
    share: float = 0.0
    """Of the predictions, the part that the canary answers."""
    shadow: Version | None = None
    """It gets copies of the champion's requests; its answers are compared and thrown away."""
    held: Version | None = None
    """Loaded and warmed, so that the next change can name it; it gets no request."""

    @property
    def versions(self) -> list[str]:
        """Every policy that a replica must hold, the champion first."""
        return list(dict.fromkeys(v for v in (self.champion, self.canary, self.shadow, self.held) if v is not None))
