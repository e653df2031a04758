"""Which policies are served, and as what: plain values that every replica is told."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Lineup(BaseModel):
    """One moment's assignment of policies, by version."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sequence: int
    """Grows with every change."""
    champion: str
    canary: str | None = None
    share: float = 0.0
    """Of the predictions, the part that the canary answers."""
    shadow: str | None = None
    """It gets copies of the champion's requests; its answers are compared and thrown away."""
    held: str | None = None
    """Loaded and warmed, so that the next change can name it; it gets no request."""

    @property
    def versions(self) -> list[str]:
        """Every policy that a replica must hold, the champion first."""
        return list(dict.fromkeys(v for v in (self.champion, self.canary, self.shadow, self.held) if v is not None))
