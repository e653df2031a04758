"""Small files that are there as a whole, or not at all, and outlive a kill and a power cut. Knows plain models."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from lstm_ray.errors import InputError

Model = TypeVar("Model", bound=BaseModel)


def write(file: Path, value: BaseModel) -> None:
    """Replace a file. Raises OSError, as of a full disk; then what it held stays."""
    temporary = file.with_name(f"{file.name}.tmp")
    try:
        with temporary.open("wb") as stream:
            stream.write(value.model_dump_json(indent=1).encode() + b"\n")
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(file)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def read(file: Path, kind: type[Model]) -> Model:
    """Raises InputError where it is missing or holds something else."""
    try:
        return kind.model_validate_json(file.read_bytes())
    except OSError as error:
        raise InputError(f"'{file}' cannot be read: {error.strerror}") from None
    except ValidationError as error:
        raise InputError(
            f"'{file}' is damaged ({error.errors()[0]['msg']}); move it away, and it is made anew"
        ) from None
