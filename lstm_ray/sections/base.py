"""What every section of the YAML is: a frozen model that refuses unknown keys."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from lstm_ray.errors import secret_in


def without_secret(address: str) -> str:
    """Raises ValueError where it holds one: the config is kept with the run and shown in its report."""
    if secret := secret_in(address):
        raise ValueError(f"'{address}' {secret}")
    return address


Fraction = Annotated[float, Field(gt=0, lt=1)]
Address = Annotated[str, AfterValidator(without_secret)]
"""A path, or a URI that holds no secret."""


class Section(BaseModel):
    """A part of the YAML: unknown keys are refused and values never change after loading."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
