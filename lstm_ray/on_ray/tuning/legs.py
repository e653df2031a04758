"""What a search of settings keeps on disk: each leg of a trial, written down before it starts, and what came of it.

A leg is a stretch of a trial that one process trains: the whole of it, or under ``scheduler: pbt`` one generation. Knows
no Ray: a killed search goes on from these files alone.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from lstm_ray.model import checkpoint
from lstm_ray.model.training import EpochRecord
from lstm_ray.model.trial import Facts
from lstm_ray.run_dir import to_json
from lstm_ray.space import Settings

TRIALS, LEG, WHOLE = "trials", "leg.json", "whole"


@dataclass(frozen=True)
class Leg:
    """What a process needs to know of the stretch it trains."""

    number: int
    """Of the trial, from 1."""
    settings: Settings
    generation: int | None = None
    """From 0; None: the leg is the whole trial."""
    until: int | None = None
    """Epochs of the trial after which the leg ends; None: as the settings say."""
    donor: int | None = None
    """Trial whose leg of the generation before this one goes on from; None: it starts from the trained policy."""
    lineage: list[str] = field(default_factory=list)
    """What the trial took over from others so far."""

    def place(self, folder: Path) -> Path:
        """The leg's own folder below the search's."""
        return place(folder, self.number, self.generation)

    def before(self, folder: Path) -> Path | None:
        """The folder of the leg that this one goes on from."""
        if self.donor is None or not self.generation:
            return None
        return place(folder, self.donor, self.generation - 1)

    def begin(self, folder: Path) -> None:
        """Write the leg down."""
        write(self.place(folder) / LEG, asdict(self))

    @classmethod
    def read(cls, folder: Path, number: int, generation: int | None = None) -> Leg | None:
        """A leg that was written down; None where it was not."""
        return cls.of(place(folder, number, generation))

    @classmethod
    def of(cls, own: Path) -> Leg | None:
        """The leg whose folder it is."""
        try:
            return cls(**json.loads((own / LEG).read_text()))
        except (OSError, ValueError, TypeError):
            return None


@dataclass(frozen=True)
class Ended:
    """A trial at its end."""

    number: int
    settings: Settings
    folder: Path
    """Of its last leg, with its checkpoints."""
    share: float
    start_loss: float | None
    num_parameters: int | None
    records: list[EpochRecord]
    seconds: float
    failure: str
    lineage: list[str]


def place(folder: Path, number: int, generation: int | None = None) -> Path:
    """Where a leg keeps its files, below the search's folder."""
    own = folder / TRIALS / f"{number:03d}"
    return own if generation is None else own / f"generation-{generation:02d}"


def mark_whole(own: Path) -> None:
    """Say that a leg ended as planned: a search that goes on will not train it further."""
    (own / WHOLE).touch()


def is_whole(own: Path) -> bool:
    return (own / WHOLE).exists()


def ended(folder: Path, legs: Iterable[Leg], failures: dict[int, str]) -> Ended:
    """A trial from its legs' files, first to last.

    Args:
        failures: by generation (0 where there are none), of legs whose process could not say what was wrong.
    """
    legs = list(legs)
    last = legs[-1]
    facts = [Facts.read(leg.place(folder)) or Facts() for leg in legs]
    found = checkpoint.newest(last.place(folder))
    records = found[0] if found else []
    failure = facts[-1].failure or failures.get(last.generation or 0, "")
    return Ended(
        number=last.number,
        settings=last.settings,
        folder=last.place(folder),
        share=facts[0].share,
        start_loss=facts[0].start_loss,
        num_parameters=facts[0].num_parameters,
        records=records,
        seconds=round(sum(one.seconds for one in facts), 3),
        failure=failure or ("" if records else "its checkpoints are damaged or missing"),
        lineage=last.lineage,
    )


def write(file: Path, value: Any) -> None:
    """A JSON file, whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}-{uuid4().hex[:8]}")
    temporary.write_bytes(to_json(value))
    os.replace(temporary, file)
