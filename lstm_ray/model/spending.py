"""How much noise a promise of privacy needs, and what of it was spent: Opacus' account. Knows no network and no data.

Rényi differential privacy of the subsampled Gaussian mechanism (Mironov 2017; Mironov, Talwar & Zhang 2019), whose bound is
proven; the numerical one of Gopi et al. (2021) would ask for some 7 % less noise and is no bound where its grid is too coarse.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from lstm_ray.config import Config
from lstm_ray.errors import InputError, not_installed
from lstm_ray.model.policy import Policy
from lstm_ray.sections.privacy import NOT_COVERED, UNIT
from lstm_ray.sections.train import PrivateConfig

PRIVACY = "privacy"
"""Of a policy's facts, and of the report of the stage train."""
ACCOUNTANT = "rdp"


@dataclass(frozen=True)
class Account:
    """What every step of a private training does, and may cost over all."""

    num_units: int
    rate: float
    """Chance that a step takes a unit."""
    sigma: float
    """Deviation of the noise, in ``clip_norm``."""
    clip_norm: float
    delta: float

    @property
    def expected(self) -> float:
        """Units that a step takes on average."""
        return self.rate * self.num_units

    def spent(self, steps: int) -> float:
        """Epsilon after so many steps."""
        if not steps:
            return 0.0
        with _quiet():
            from opacus.accountants import RDPAccountant

            accountant = RDPAccountant()
            accountant.history = [(self.sigma, self.rate, steps)]
            return float(accountant.get_epsilon(self.delta))


def require_installed() -> None:
    """Raises InputError where Opacus is missing."""
    try:
        with _quiet():
            import opacus.accountants  # noqa: F401
    except ModuleNotFoundError as error:
        raise not_installed(error) or error from None


def opened(private: PrivateConfig, num_units: int, batch: int, steps: int) -> Account:
    """The account of a training with the least noise that keeps its promise over so many steps.

    Args:
        batch: units that a step takes on average.

    Raises InputError where no noise keeps it, or Opacus is missing.
    """
    require_installed()
    from opacus.accountants.utils import get_noise_multiplier

    rate, delta = min(1.0, batch / num_units), private.delta or min(0.5, 1 / num_units)
    try:
        with _quiet():
            sigma = get_noise_multiplier(
                target_epsilon=private.epsilon,
                target_delta=delta,
                sample_rate=rate,
                steps=steps,
                accountant=ACCOUNTANT,
                epsilon_tolerance=min(0.01, private.epsilon / 100),
            )
    except (ValueError, OverflowError) as error:
        raise InputError(
            f"train.private.epsilon {private.epsilon:g} with delta {delta:g} cannot be kept over {steps:,} steps that take "
            f"{rate:.1%} of {num_units:,} {UNIT} each ({error}); raise epsilon, or lower train.batch or train.max_epochs"
        ) from None
    return Account(num_units, rate, float(sigma), private.clip_norm, delta)


def told(account: Account, config: Config, steps: int, begun: Policy | None = None) -> dict[str, Any]:
    """What a policy says of its privacy, as plain values.

    Args:
        steps: taken.
        begun: the policy that it started from.
    """
    assert config.train.private is not None, "the account was opened for it"
    spent = account.spent(steps)
    found: dict[str, Any] = {
        "unit": UNIT,
        "epsilon": spent,
        "delta": account.delta,
        "epsilon_asked": config.train.private.epsilon,
        "sigma": account.sigma,
        "clip_norm": account.clip_norm,
        "sampling_rate": account.rate,
        "units": account.num_units,
        "steps": steps,
        "accountant": f"opacus {ACCOUNTANT}",
        "not_covered": list(NOT_COVERED),
    }
    if begun is not None:
        # A series may lie in both trainings: their costs add up (Dwork & Roth 2014, theorem 3.16).
        before = begun.facts.get(PRIVACY) or {}
        found["began_from"] = begun.version
        for name, own in (("epsilon", spent), ("delta", account.delta)):
            earlier = before.get(f"{name}_in_all", before.get(name))
            found[f"{name}_in_all"] = None if earlier is None else earlier + own
    return found


def words(privacy: Mapping[str, Any]) -> str:
    """What ``told`` tells, as sentences for a person."""
    text = (
        f"Whether any one of {privacy['units']:,} {privacy['unit']} was trained on stays hidden in the weights: epsilon "
        f"{privacy['epsilon']:.3g}, delta {privacy['delta']:.2g} ({privacy['accountant']}; DP-SGD, {privacy['steps']:,} steps "
        f"that take each with chance {privacy['sampling_rate']:.3g}, its gradient of norm {privacy['clip_norm']:g} at most, "
        f"noise of {privacy['sigma']:.3g} times that)."
    )
    if not privacy.get("began_from"):
        return text
    text += f" It began from policy {privacy['began_from'][:12]}, "
    if privacy["epsilon_in_all"] is None:
        return f"{text}which was trained without privacy: what that one was trained on is not hidden."
    return (
        f"{text}and for a series that both were trained on it is epsilon {privacy['epsilon_in_all']:.3g}, delta "
        f"{privacy['delta_in_all']:.2g}."
    )


def left_out(privacy: Mapping[str, Any]) -> str:
    """What the promise does not hold for, as a sentence."""
    return f"Privacy does not cover {'; '.join(privacy['not_covered'])}."


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what Opacus says of orders that it would like to search beyond: its bound holds all the same."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
