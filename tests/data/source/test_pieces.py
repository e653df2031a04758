"""A source in pieces: the same rows in the same order, whatever the format, and what a piece can be asked for."""

from __future__ import annotations

import gzip
import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.feather as pa_feather
import pyarrow.parquet as pa_parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lstm_ray.data.source import files
from lstm_ray.errors import InputError
from lstm_ray.sections.data import DataConfig

NUM = 5000
NAMES = ["t.csv", "t.csv.gz", "t.parquet", "t.arrow", "stream.arrow"]


def made() -> pa.Table:
    random = np.random.default_rng(0)
    load = np.where(np.arange(NUM) % 7 == 0, np.nan, random.normal(size=NUM))
    return pa.table(
        {
            "site": [f's{i % 3}, "{"x" * (i % 11)}"' for i in range(NUM)],
            "hour": np.arange(NUM),
            "load": pa.array(load, from_pandas=True),
            "spare": ["y"] * NUM,
        }
    )


def write(folder: Path, name: str, table: pa.Table | None = None) -> DataConfig:
    table = made() if table is None else table
    file = folder / name
    if "csv" in name:
        plain = folder / "plain"
        pa_csv.write_csv(table, plain)
        file.write_bytes(gzip.compress(plain.read_bytes()) if name.endswith("gz") else plain.read_bytes())
    elif name.endswith("parquet"):
        pa_parquet.write_table(table, file, row_group_size=300)
    elif name == "stream.arrow":
        with pa.ipc.new_stream(file, table.schema) as writer:
            writer.write_table(table)
    else:
        pa_feather.write_feather(table, str(file), chunksize=300)
    return DataConfig(source=str(file), series_id=["site"], time="hour", target=["load"])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("target_bytes", [1, 20_000, 64_000_000])
def test_the_pieces_one_after_the_other_are_the_table(tmp_path: Path, name: str, target_bytes: int) -> None:
    data = write(tmp_path, name)
    # Bytes: a few would make a piece of every line.
    found = files.pieces(data, target_bytes if "csv" not in name else max(target_bytes, 2000))
    assert (len(found) > 1) == (target_bytes < 64_000_000 and name not in ("t.csv.gz", "stream.arrow"))
    table = pa.concat_tables([files.read_piece(data, pickle.loads(pickle.dumps(piece))) for piece in found])
    expected = made().select(["site", "hour", "load"])
    if "csv" in name:
        expected = expected.set_column(1, "hour", expected["hour"].cast(pa.string()))
    assert table.combine_chunks() == expected.combine_chunks()
    assert files.read(data) == table
    assert [piece.num_rows is not None for piece in found] == [name == "t.parquet"] * len(found)
    assert all(piece.num_rows is None or piece.num_rows == files.read_piece(data, piece).num_rows for piece in found)
    assert all(piece.num_bytes > 0 for piece in found)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.integers(0, 10**9), min_size=1, max_size=60),
    st.integers(1, 60),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
)
def test_a_text_file_is_cut_between_lines_alone(
    tmp_path: Path, values: list[int], target_bytes: int, newline: str, ends: bool
) -> None:
    text = newline.join(["load", *map(str, values)]) + newline * ends
    (tmp_path / "t.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    data = DataConfig(source=str(tmp_path / "t.csv"), target=["load"])
    found = files.pieces(data, target_bytes)
    tables = [files.read_piece(data, piece) for piece in found]
    assert pa.concat_tables(tables)["load"].to_pylist() == values
    assert [piece.first for piece in found[1:]] == [piece.end for piece in found[:-1]]


@pytest.mark.parametrize("name", NAMES)
def test_a_piece_is_asked_for_some_columns_and_for_others_without_a_role(tmp_path: Path, name: str) -> None:
    data = write(tmp_path, name)
    [piece] = files.pieces(data, also=["spare"])
    assert files.read_piece(data, piece, ["load", "site"]).column_names == ["site", "load"]
    assert files.read_piece(data, piece, also=["spare"]).column_names == ["site", "hour", "load", "spare"]
    assert files.read_piece(data, piece, ["spare"], also=["spare", "site"]).to_pydict() == {"spare": ["y"] * NUM}
    with pytest.raises(InputError, match="column 'colour' is not in"):
        files.pieces(data, also=["colour"])


STAMPS = [
    (pa.array([0, 3600], pa.timestamp("ms")), pa.timestamp("ms")),
    (pa.array([0, 3600], pa.timestamp("ns", "Europe/Berlin")), pa.timestamp("ns", "Europe/Berlin")),
    (pa.array([0, 1], pa.date32()), pa.date32()),
    (pa.array([0, 1], pa.int32()), pa.int64()),
    (pa.array(["1", "2"], pa.large_string()), pa.string()),
    (pa.array(["a", "b"]).dictionary_encode(), pa.string()),
]


@pytest.mark.parametrize(("stamps", "kind"), STAMPS, ids=lambda value: str(getattr(value, "type", value))[:20])
@pytest.mark.parametrize("name", ["t.parquet", "t.arrow"])
def test_time_stamps_are_never_turned_into_words(
    tmp_path: Path, name: str, stamps: pa.Array, kind: pa.DataType
) -> None:
    data = write(tmp_path, name, pa.table({"site": ["a", "b"], "hour": stamps, "load": [1, 2]}))
    assert files.read(data)["hour"].type == kind


def test_ids_are_words_and_numbers_are_floats_whatever_the_file_says(tmp_path: Path) -> None:
    table = pa.table(
        {
            "site": pa.array([1, 2], pa.int16()),
            "hour": [0, 1],
            "load": pa.array(["1.5", "NA"]).dictionary_encode(),
            "wind": pa.array([2**53 + 1, None]),
            "on": [True, False],
        }
    )
    data = write(tmp_path, "t.parquet", table).model_copy(update={"past": ["wind", "on"]})
    assert files.read(data).to_pydict() == {
        "site": ["1", "2"],
        "hour": [0, 1],
        "load": [1.5, None],
        "wind": [2.0**53, None],
        "on": [1.0, 0.0],
    }


def test_a_weight_is_a_number_and_a_made_up_input_is_not_asked_of_the_source(tmp_path: Path) -> None:
    table = made().append_column("counts", pa.array(np.ones(NUM, dtype=np.int8)))
    data = write(tmp_path, "t.parquet", table).model_copy(update={"weight": "counts", "irregular": "time_delta"})
    filled = files.roles(data)
    assert filled.past == ["time_delta"]
    assert files.roles(filled) == filled
    assert "time_delta" not in files.header(filled)
    found = files.read(filled)
    assert found.schema.names == ["site", "hour", "load", "counts"]
    assert found["counts"].type == pa.float64()
    own = write(tmp_path, "t.arrow", table.rename_columns(["site", "hour", "load", "time_delta", "counts"]))
    with pytest.raises(InputError, match=r"column 'time_delta' is made up by data.irregular: time_delta; rename yours"):
        files.header(files.roles(own.model_copy(update={"irregular": "time_delta"})))


def test_sources_that_are_put_together_from_all_their_files_are_one_piece(tmp_path: Path) -> None:
    for name, text in (("a.csv", "n,1,2\na,1,2\nb,3,4\n"), ("b.csv", "n,1\nb,5\na,6\n")):
        (tmp_path / name).write_text(text)
    data = files.roles(DataConfig(source=[str(tmp_path / "a.csv"), str(tmp_path / "b.csv")], layout="wide"))
    [piece] = files.pieces(data, 1)
    assert files.read_piece(data, piece) == files.read(data)
    assert files.read_piece(data, piece, ["n"]).to_pydict() == {"n": ["a", "a", "b", "b", "b", "a"]}


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_the_delimiter_is_that_of_the_header(tmp_path: Path, delimiter: str) -> None:
    (tmp_path / "t.csv").write_text(f'site{delimiter}load\n"a{delimiter}b"{delimiter}1\n')
    data = DataConfig(source=str(tmp_path), series_id=["site"], target=["load"])
    assert files.read(data).to_pydict() == {"site": [f"a{delimiter}b"], "load": [1.0]}


CUT = {
    "t.csv": r"cannot be read: .*Expected 4 columns, got \d.*fetch the file anew",
    "t.csv.gz": "cannot be read: Truncated compressed stream; it may be cut off, fetch it anew",
    "t.parquet": "cannot be read: .*it may be cut off, fetch it anew",
    "t.arrow": "cannot be read: .*it may be cut off, fetch it anew",
    "stream.arrow": "cannot be read: .*it may be cut off, fetch it anew",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_file_cut_in_half_is_one_clear_error(tmp_path: Path, name: str) -> None:
    data = write(tmp_path, name)
    file = Path(str(data.source))
    content = file.read_bytes()[: file.stat().st_size // 2]
    if name == "t.csv":
        content = content[: content.rindex(b"\n")].rpartition(b",")[0]
    file.write_bytes(content)
    with pytest.raises(InputError, match=CUT[name]) as caught:
        files.read(data)
    assert f"'{file}'" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.parquet", "t.arrow"])
def test_a_column_of_mixed_types_names_its_first_bad_value_and_row(tmp_path: Path, name: str) -> None:
    values = [str(i) for i in range(NUM)]
    values[4321], values[4500] = "abc", "def"
    data = write(tmp_path, name, made().set_column(2, "load", pa.array(values)))
    with pytest.raises(InputError) as caught:
        _ = [files.read_piece(data, piece) for piece in files.pieces(data, 20_000)]
    file = data.source
    assert str(caught.value).startswith(
        f"column 'load' of '{file}' is not numeric as its role needs: 'abc' in row 4321; mend the value"
    )


def test_text_that_is_not_utf_8_says_so(tmp_path: Path) -> None:
    for header, cell in (("größe", "a"), ("site", "größe")):
        (tmp_path / "t.csv").write_bytes(f"{header},load\n{cell},1\n".encode("latin-1"))
        data = DataConfig(source=str(tmp_path), series_id=[header], target=["load"])
        with pytest.raises(InputError, match=r"is no UTF-8 text: .*save it as UTF-8"):
            files.read(data)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"site,load\ra,1\r", "the header of '.*' cannot be read: .*ends in"),
        (b"\n\n", "is empty; name files that hold data"),
        (b"site,load\n", "has a header but no rows"),
        (b"site,load\na,1\nb\n", "Expected 2 columns, got 1: b; mend that line, or fetch the file anew"),
    ],
)
@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
def test_text_that_is_no_table_is_told_why(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    with pytest.raises(InputError, match=words):
        files.read(DataConfig(source=str(tmp_path), series_id=["site"], target=["load"]))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(alphabet='a",\n', max_size=6), min_size=1, max_size=40), st.integers(1, 90))
def test_a_line_break_inside_quotes_is_no_place_to_cut(tmp_path: Path, words: list[str], target_bytes: int) -> None:
    rows = [*(f"{i},{quoted(word)}\n" for i, word in enumerate(words))]
    (tmp_path / "t.csv").write_text('load,"site"\n' + "".join(rows))
    data = DataConfig(source=str(tmp_path), series_id=["site"], target=["load"])
    parts = [files.read_piece(data, piece) for piece in files.pieces(data, target_bytes)]
    found = pa.concat_tables(parts)
    assert found["load"].to_pylist() == list(range(len(words)))
    assert found["site"].to_pylist() == [word or None for word in words]


def quoted(word: str) -> str:
    doubled = word.replace('"', '""')
    return f'"{doubled}"'


def test_quotes_that_begin_late_are_refused_where_a_line_break_may_lie_in_them(tmp_path: Path) -> None:
    lines = "".join(f"{i},a\n" for i in range(20_000))
    (tmp_path / "t.csv").write_text(f'load,site\n{lines}7,"b\nc"\n8,d\n')
    data = DataConfig(source=str(tmp_path), series_id=["site"], target=["load"])
    assert files.read(data)["site"].to_pylist()[-2:] == ["b\nc", "d"]
    parts = files.pieces(data, (tmp_path / "t.csv").stat().st_size - 21)
    assert len(parts) == 2
    for part in parts:
        with pytest.raises(InputError, match=f"has quotes after byte {part.first}, and none in its first rows"):
            files.read_piece(data, part)


def test_unused_columns_may_be_without_a_name_or_share_one_and_blank_lines_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"\r\n,x,load,x\r\n0,1,2,3\r\n\r\n4,5,6,7\r\n")
    assert files.read(DataConfig(source=str(tmp_path), target=["load"]))["load"].to_pylist() == [2.0, 6.0]


def test_lines_may_be_longer_than_a_block(tmp_path: Path) -> None:
    names = [f"s{i}" for i in range(15_000)]
    (tmp_path / "t.csv").write_text(f"when,{','.join(names)}\n" + f"0,{','.join(['1.' + '3' * 70] * 15_000)}\n" * 3)
    data = files.roles(DataConfig(source=str(tmp_path), time="when", layout="columns"))
    assert files.read(data).num_rows == 45_000
