"""Text as spreadsheets and other programs write it."""

from __future__ import annotations

from pathlib import Path

import pytest

from lstm_ray.data.source import files
from lstm_ray.errors import InputError
from lstm_ray.sections.data import DataConfig


def read(folder: Path, content: str | bytes, **roles: object) -> dict[str, list[object]]:
    (folder / "t.csv").write_bytes(content.encode() if isinstance(content, str) else content)
    given = {"source": str(folder / "t.csv"), "time": "t", "target": ["x"]} | roles
    return files.read(DataConfig.model_validate(given)).to_pydict()


def refusal(folder: Path, content: str | bytes) -> str:
    with pytest.raises(InputError) as caught:
        read(folder, content)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


@pytest.mark.parametrize("sign", [";", "\t", "|"])
def test_numbers_may_have_a_decimal_comma_where_it_cuts_no_values(tmp_path: Path, sign: str) -> None:
    text = "t;x;n\r\n1;-3,25;3,5 kg\r\n2;7;\r\n3;1,5e3;a\r\n".replace(";", sign)
    found = read(tmp_path, "\ufeff" + text, series_id=["n"])
    assert found == {"n": ["3,5 kg", None, "a"], "t": ["1", "2", "3"], "x": [-3.25, 7.0, 1500.0]}


def test_decimal_commas_are_told(tmp_path: Path) -> None:
    read(tmp_path, "t;x\n1;3,5\n")
    data = DataConfig(source=str(tmp_path / "t.csv"), time="t", target=["x"])
    [finding] = files.findings(data)
    assert finding.text.startswith("Numbers are read with a comma before their decimals, as in 3,14, in 1 of 1 files")


@pytest.mark.parametrize("wrong", ["defekt", "1.234,5", "1.5", "1,2,3"])
def test_of_numbers_with_commas_the_wrong_one_is_named_as_it_stands(tmp_path: Path, wrong: str) -> None:
    rows = "".join(f"{i};{i},5\n" for i in range(20_000))
    assert f"is not numeric as its role needs: '{wrong}' in row 20000" in refusal(
        tmp_path, f"t;x\n{rows}20000;{wrong}\n"
    )


def test_points_and_commas_together_are_not_guessed_at(tmp_path: Path) -> None:
    assert "'3,5' in row 1" in refusal(tmp_path, "t;x\n1;3.5\n2;3,5\n")
    assert "'1,234.5' in row 0" in refusal(tmp_path, 't,x\n1,"1,234.5"\n')


@pytest.mark.parametrize("head", ["sep=;\r\n", "\ufeffsep=;\n"])
def test_a_first_line_that_tells_the_separator_is_no_header(tmp_path: Path, head: str) -> None:
    assert read(tmp_path, head + "t;x\n1;2\n") == {"t": ["1"], "x": [2.0]}
    (tmp_path / "t.csv").write_text(head + "n;a;b;c\nu;1;2,5;3\n", encoding="utf-8")
    wide = files.read(files.roles(DataConfig(source=str(tmp_path / "t.csv"), layout="wide")))
    assert wide["value"].to_pylist() == [1.0, 2.5, 3.0]


def test_the_separator_is_the_sign_that_header_and_row_agree_on(tmp_path: Path) -> None:
    assert read(tmp_path, "t;x, total;z\n1;2;3\n", target=["x, total"])["x, total"] == [2.0]
    assert read(tmp_path, 't,"x; a; b; c",y\n1,2,3\n', target=["x; a; b; c"])["x; a; b; c"] == [2.0]
    assert read(tmp_path, "t;x;y\n1;2,5;3,5\n")["x"] == [2.5]


def test_an_index_without_a_name_gets_one(tmp_path: Path) -> None:
    assert read(tmp_path, ",x\n2024-01-01,2\n", time="column_0")["column_0"] == ["2024-01-01"]


def test_what_programs_write_for_nothing_is_missing(tmp_path: Path) -> None:
    words = ["", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "-nan", "NULL", "None"]
    found = read(tmp_path, "t,x\n" + "".join(f"{i},{word}\n" for i, word in enumerate(words)) + "9,1\n")
    assert found["x"] == [None] * len(words) + [1.0]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("t\tx\n1\t2\n".encode("utf-16"), "is UTF-16 text; save it as UTF-8"),
        (b"PK\x03\x04\x00", "a ZIP archive or a workbook"),
    ],
)
def test_files_of_other_programs_are_named_as_such(tmp_path: Path, content: bytes, words: str) -> None:
    assert words in refusal(tmp_path, content)


def test_lines_above_the_header_are_named(tmp_path: Path) -> None:
    message = refusal(tmp_path, "# exported 2024\nt,x\n1,2\n")
    assert "its header is '# exported 2024': remove what stands above the names of the columns" in message
