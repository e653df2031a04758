"""What a message may show: addresses without their secrets."""

from __future__ import annotations

import pytest

from lstm_ray.errors import InputError, secret_in


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("'s3://key:very/secret@b/run' is", "'s3://b/run' is"),
        ("az://c/x?account_key=very-secret&a=1", "az://c/x?account_key=...&a=1"),
        ("https://h/x?a=1&X-Amz-Signature=very-secret; do", "https://h/x?a=1&X-Amz-Signature=... do"),
        ("s3://b/run?region=eu-west-1", "s3://b/run?region=eu-west-1"),
    ],
)
def test_a_message_leaves_secrets_of_addresses_out(text: str, shown: str) -> None:
    assert str(InputError(text)) == shown


@pytest.mark.parametrize(
    "address",
    [
        "s3://b/a:b@c.csv",
        "http://host:8080/a@b.csv",
        "abfs://container@account/x.csv",
        "a?key=1.csv",
        "s3://b/x?region=r",
    ],
)
def test_an_address_without_a_secret_is_let_through(address: str) -> None:
    assert secret_in(address) is None
