"""What is kept of a series between two of its steps: the newest rows as they came, and LSTM states. Knows no weights.

Shapes: R rows kept, F columns (targets, past, known), C targets, p phases (steps of a patch), E members that answer, G groups
of channels, D width of a state.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors import numpy as arrays

from lstm_ray.data.schema import Own, Schema
from lstm_ray.errors import InputError

DIGEST_BYTES = hashlib.sha256().digest_size
ARRAYS = ("given_RF", "filled_RF", "out_RF", "category_1K", "before", "after")


@dataclass(frozen=True)
class State:
    """One series, read up to its newest step. Nothing in it changes: observing makes another."""

    name: str
    version: str
    """Of the policy that read it."""
    columns: list[str]
    axis: list[Any]
    """Length and kind of a step (``axis_of``)."""
    steps: int
    """Read since it began, skipped ones too."""
    tick: int
    """Of the newest step."""
    static: dict[str, str]
    given_RF: NDArray
    """As they came, NaN where nothing was measured, float32."""
    filled_RF: NDArray
    """Filled and cleaned as training was, in the data's own units, float32."""
    out_RF: NDArray
    """Which values were outliers, bool."""
    category_1K: NDArray
    own: Own | None = None
    """The units of its targets, where each series has its own: as they were when it began."""
    before: NDArray = field(default_factory=lambda: np.empty(0, np.float32))
    """[E, 2, layers, G, D] before the patch that ends at the newest step was read; without E where there is one network."""
    after: NDArray = field(default_factory=lambda: np.empty(0, np.float32))
    """[p, E, 2, layers, G, D] after the newest patch of each phase: those that end at steps p apart."""

    @property
    def num_bytes(self) -> int:
        return sum(getattr(self, name).nbytes for name in ARRAYS)

    def to_bytes(self) -> bytes:
        """Its arrays and facts as safetensors, after their hash."""
        facts = {
            name: getattr(self, name) for name in ("name", "version", "columns", "axis", "steps", "tick", "static")
        }
        kept = {name: np.ascontiguousarray(getattr(self, name)) for name in ARRAYS}
        if self.own is not None:
            kept |= {"zero_BC": self.own.zero_BC, "unit_BC": self.own.unit_BC}
        content = arrays.save({**kept, "facts": np.frombuffer(json.dumps(facts).encode(), np.uint8)})
        return hashlib.sha256(content).digest() + content

    @classmethod
    def of_bytes(cls, kept: bytes) -> State:
        """The inverse of ``to_bytes``. Raises InputError for what was altered."""
        content = kept[DIGEST_BYTES:]
        if hashlib.sha256(content).digest() != kept[:DIGEST_BYTES]:
            raise InputError("a stream's state was altered after it was kept; begin the stream again")
        try:
            found: dict[str, Any] = {name: np.array(values) for name, values in arrays.load(content).items()}
            facts = json.loads(found.pop("facts").tobytes())
            own = Own(found.pop("zero_BC"), found.pop("unit_BC")) if "zero_BC" in found else None
            return cls(**facts, **found, own=own)
        except (SafetensorError, LookupError, TypeError, ValueError) as error:
            raise InputError(f"a stream's state cannot be read ({error}); begin the stream again") from None


def axis_of(schema: Schema) -> list[Any]:
    """What two policies must agree on to read each other's streams."""
    return [schema.step, schema.is_time, schema.in_months]
