"""What the config is kept with holds no secret, wherever an address stands in it."""

from __future__ import annotations

from typing import Any

import pytest

from lstm_ray.config import parse
from lstm_ray.errors import InputError


@pytest.mark.parametrize(
    ("values", "place"),
    [
        ({"data": {"source": "s3://key:very-secret@b/t.csv"}}, r"data: 's3://b/t\.csv'"),
        ({"data": {"source": ["t.csv", "s3://key:very-secret@b/t.csv"]}}, r"data: 's3://b/t\.csv'"),
        (
            {"data": {"static_source": "az://c/t.csv?sas=very-secret"}},
            r"data\.static_source: 'az://c/t\.csv\?sas=\.\.\.'",
        ),
        ({"train": {"start_from": "s3://key:very-secret@b/run"}}, r"train\.start_from: 's3://b/run'"),
        ({"retrain": {"mlflow": "http://user:very-secret@host:50"}}, r"retrain\.mlflow: 'http://host:50'"),
    ],
)
def test_a_secret_in_an_address_is_refused_and_not_shown(values: dict[str, Any], place: str) -> None:
    data = {"source": "t.csv", "target": ["y"]} | values.pop("data", {})
    with pytest.raises(InputError, match=rf"^{place} holds a secret .* set it in the environment") as raised:
        parse({"name": "x", "data": data} | values)
    assert "very-secret" not in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1
