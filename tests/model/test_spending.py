"""What privacy costs, against Opacus' own account."""

from __future__ import annotations

import sys
import warnings

import pytest

from lstm_ray.errors import InputError
from lstm_ray.model import spending
from lstm_ray.model.policy import Policy
from lstm_ray.sections.train import PrivateConfig
from tests import made

CONFIG = made.make_config(train__private={"epsilon": 4.0})


def account(num_units: int = 400, batch: int = 32, steps: int = 500, **values: float) -> spending.Account:
    return spending.opened(PrivateConfig.model_validate({"epsilon": 4.0, **values}), num_units, batch, steps)


def opacus(sigma: float, rate: float, steps: int, delta: float) -> float:
    """Step by step, as whoever trains with Opacus keeps it."""
    from opacus.accountants import RDPAccountant

    found = RDPAccountant()
    for _ in range(steps):
        found.step(noise_multiplier=sigma, sample_rate=rate)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(found.get_epsilon(delta))


def test_the_noise_keeps_the_promise_over_all_steps_and_hardly_more() -> None:
    found = account()
    assert (found.rate, found.delta, found.expected) == (32 / 400, 1 / 400, pytest.approx(32))
    for steps in (500, 120):
        assert found.spent(steps) == pytest.approx(opacus(found.sigma, found.rate, steps, found.delta), rel=1e-9)
    assert 3.9 < found.spent(500) <= 4.0
    assert found.spent(120) < 3.0, "who stops early spent less"
    assert found.spent(0) == 0


def test_more_is_asked_of_the_noise_where_the_promise_is_stronger() -> None:
    assert account(epsilon=1.0).sigma > account().sigma > account(epsilon=20.0).sigma
    assert account(delta=1e-6).sigma > account().sigma
    assert account(num_units=4_000).sigma < account(delta=1 / 4_000).sigma


def test_who_takes_all_of_a_few_series_has_no_chance_to_hide_behind() -> None:
    assert account(num_units=5).rate == 1


def test_what_no_noise_can_keep_is_refused() -> None:
    with pytest.raises(InputError, match=r"train\.private\.epsilon 1e-07 with delta .* cannot be kept over 500 steps"):
        account(epsilon=1e-7, delta=1e-12)


def test_without_opacus_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opacus", None)
    for name in [name for name in sys.modules if name.startswith("opacus.")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(InputError, match=r"'opacus', which is not installed; pip install 'lstm-ray\[private\]'"):
        account()


def test_what_two_trainings_spent_on_the_same_series_adds_up(policy: Policy) -> None:
    own = account()
    alone = spending.told(own, CONFIG, 500)
    policy.facts.pop(spending.PRIVACY, None)
    begun = spending.told(own, CONFIG, 500, policy)
    assert begun["epsilon_in_all"] is None
    assert "trained without privacy" in spending.words(begun)
    policy.facts[spending.PRIVACY] = alone
    twice = spending.told(own, CONFIG, 500, policy)
    assert twice["epsilon_in_all"] == pytest.approx(2 * alone["epsilon"])
    policy.facts[spending.PRIVACY] = twice
    assert spending.told(own, CONFIG, 500, policy)["delta_in_all"] == pytest.approx(3 / 400)
    policy.facts.pop(spending.PRIVACY)
    assert "epsilon 4, delta 0.0025" in spending.words(alone)
    assert "scaled by" in spending.left_out(alone)
