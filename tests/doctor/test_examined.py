"""Checks are told one by one as they come, in words that fit whoever asks the doctor."""

from __future__ import annotations

import json

import pytest

from lstm_ray.cli import main
from lstm_ray.doctor import examined, storage
from lstm_ray.doctor.checks import Check
from lstm_ray.on_ray.doctor import cluster_checks
from lstm_ray.storage.faults import told


def test_each_check_is_printed_before_the_next_is_made(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []

    def slow(uri: str) -> list[Check]:
        said.append(capsys.readouterr().out)
        return [Check("storage", "well", uri)]

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(storage, "storage", slow)
    with pytest.raises(SystemExit):
        main(["doctor", "--run-dir", "s3://slow"])
    assert "port 8265" in said[0]
    assert "s3://slow" in capsys.readouterr().out


def test_a_storage_that_does_not_answer_is_not_told_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    words = str(told(OSError("AWS Error NETWORK_CONNECTION: curlCode: 28, Timeout was reached"), "'s3://slow'"))
    assert "goes on from here" in words
    monkeypatch.setattr(storage, "storage", lambda uri: [Check("storage", "wrong", words)])
    *_, found = examined.here("s3://slow")
    assert found.text.startswith("storage does not answer")
    assert "goes on" not in found.text


@pytest.mark.parametrize("address", ["http://127.0.0.1:7265", "127.0.0.1", "ray://127.0.0.1:10001"])
def test_what_is_no_address_is_one_check_that_fails(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    [found] = cluster_checks(address)
    assert (found.name, found.verdict) == ("cluster", "wrong")
    assert address in found.text
    assert ("lstm-ray submit" in found.advice) == address.startswith("http://")
    with pytest.raises(SystemExit) as left:
        main(["doctor", "--json", "--address", address])
    answer = json.loads(capsys.readouterr().out)
    assert left.value.code == answer["exit_code"] == 1
    assert len(answer["checks"]) > 5
    assert answer["checks"][-1]["name"] == "cluster"
