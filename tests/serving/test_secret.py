"""The tokens that open a server."""

from __future__ import annotations

from pathlib import Path

import pytest

from lstm_ray.errors import InputError
from lstm_ray.sections.deploy import DeployConfig
from lstm_ray.serving.gate import digest, whose
from lstm_ray.serving.secret import tokens

LONG, OTHER = "0123456789abcdef", "fedcba9876543210"


def of_file(folder: Path, content: str) -> dict[str, bytes]:
    (folder / "tokens").write_text(content)
    return tokens(DeployConfig(token_file=str(folder / "tokens")))


@pytest.mark.parametrize("content", [LONG, f"{LONG}\n", f"  {LONG}  \n\n", "a secret that is long enough\n"])
def test_a_file_of_one_bare_token_is_that_token(tmp_path: Path, content: str) -> None:
    assert of_file(tmp_path, content) == {"token": digest(content.strip().encode())}


def test_a_line_names_a_token(tmp_path: Path) -> None:
    assert of_file(tmp_path, f"ada {LONG}\n") == {"ada": digest(LONG.encode())}
    found = of_file(tmp_path, f"ada {LONG}\n\nb.o-b@work\t {OTHER}\r\n")
    assert found == {"ada": digest(LONG.encode()), "b.o-b@work": digest(OTHER.encode())}
    assert whose(f"Bearer {OTHER}".encode(), found) == "b.o-b@work"
    assert whose(f"bearer  {LONG} ".encode(), found) == "ada"
    for wrong in (b"", b"Bearer", b"Bearer ada", f"Basic {LONG}".encode(), f"Bearer ada {LONG}".encode()):
        assert whose(wrong, found) is None


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "holds 0 characters"),
        ("short", "holds 5 characters"),
        ("ada short", "the token of 'ada', holds 5 characters"),
        (f"ada {LONG}\n{OTHER}", "line 2, is not of the form 'NAME TOKEN'"),
        (f"{LONG}\n{OTHER}", "line 1, is not of the form 'NAME TOKEN'"),
        (f"ada {LONG} more\nbob {OTHER}", "line 1, is not of the form"),
        (f"ada {LONG}\nada {OTHER}", "line 2, names 'ada' again"),
        (f"ada {LONG}\nbob {LONG}", "line 2, gives 'bob' the token of 'ada'"),
        (f"ada {LONG}\u00e9\nbob {OTHER}", "beyond ASCII"),
    ],
)
def test_tokens_that_cannot_be_used_are_refused_and_not_repeated(tmp_path: Path, content: str, expected: str) -> None:
    with pytest.raises(InputError) as refused:
        of_file(tmp_path, content)
    assert expected in str(refused.value)
    assert LONG not in str(refused.value)


def test_a_variable_holds_one_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINE", LONG)
    assert tokens(DeployConfig(token_variable="MINE")) == {"token": digest(LONG.encode())}
    assert tokens(DeployConfig(token_variable="NONE")) == {}
