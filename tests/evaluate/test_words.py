"""Numbers as people read them."""

from __future__ import annotations

import pytest

from lstm_ray.evaluate.words import percent


@pytest.mark.parametrize(
    ("share", "words"),
    [(0.0214, "2.1 %"), (0.5, "50 %"), (1.234, "123 %"), (109_368.2, "10,936,820 %"), (-117.07, "-11,707 %")],
)
def test_a_percentage_has_one_decimal_where_it_is_small_and_separators_where_it_is_large(
    share: float, words: str
) -> None:
    assert percent(share) == words
