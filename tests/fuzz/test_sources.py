"""Tables of any bytes, and of schemas that nobody meant."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lstm_ray.data.source.files import header, pieces, read, read_piece
from lstm_ray.data.timeline import grid
from lstm_ray.errors import InputError
from tests import made
from tests.fuzz.sandbox import held, spoilt

SHARED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
STEPS = 60


def table() -> pa.Table:
    when = np.datetime64("2024-01-01T00", "us") + np.arange(STEPS) * np.timedelta64(1, "h")
    values = np.random.default_rng(1).normal(size=(2, STEPS))
    return pa.table({"site": ["a"] * STEPS, "when": pa.array(when), "load": values[0], "wind": values[1]})


def written(kind: str) -> bytes:
    out = io.BytesIO()
    match kind:
        case "parquet":
            pq.write_table(table(), out, row_group_size=25)
        case "feather":
            feather.write_feather(table(), out)
        case "arrow":
            with pa.ipc.new_file(out, table().schema) as writer:
                writer.write_table(table())
        case _:
            pl.from_arrow(table()).write_csv(out)  # type: ignore[union-attr]
    return out.getvalue()


WHOLE = {kind: written(kind) for kind in ("parquet", "feather", "arrow", "csv")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("around") / "run"
    folder.mkdir()
    return folder


def look(folder: Path, kind: str, content: bytes) -> None:
    file = folder / f"table.{kind}"
    file.write_bytes(content)
    data = made.make_config(file).data
    with held(folder):
        header(data)
    with held(folder):
        grid.load(data)
    with held(folder):
        [read_piece(data, piece) for piece in pieces(data, 1_000)]


@pytest.mark.parametrize("kind", WHOLE)
def test_a_table_as_it_was_written_is_read(folder: Path, kind: str) -> None:
    file = folder / f"whole.{kind}"
    file.write_bytes(WHOLE[kind])
    assert read(made.make_config(file).data).num_rows == STEPS


@SHARED
@given(st.data())
@pytest.mark.parametrize("kind", WHOLE)
def test_a_spoilt_table_is_read_or_refused(folder: Path, kind: str, data: st.DataObject) -> None:
    look(folder, kind, data.draw(spoilt(WHOLE[kind])))


@SHARED
@given(kind=st.sampled_from([*WHOLE, "csv.gz", "parquet"]), content=st.binary(max_size=200))
def test_any_bytes_are_a_table_or_refused(folder: Path, kind: str, content: bytes) -> None:
    magic = {"parquet": b"PAR1", "arrow": b"ARROW1\0\0", "feather": b"ARROW1\0\0", "csv.gz": b"\x1f\x8b\x08\0"}.get(
        kind, b""
    )
    look(folder, kind, content)
    look(folder, kind, magic + content + magic[:4])


@SHARED
@given(text=st.text(alphabet=st.sampled_from('abwhen,site;load"\n\r\0\t0159.-:TZe+ \ufeff\x1a')), row=st.integers(0, 3))
def test_any_text_below_or_instead_of_a_header_is_a_table_or_refused(folder: Path, text: str, row: int) -> None:
    lines = WHOLE["csv"].decode().splitlines()
    look(folder, "csv", "\n".join([*lines[:row], text, *lines[row:20]]).encode())


COLUMNS = st.sampled_from([
    pa.int8(), pa.uint64(), pa.float16(), pa.bool_(), pa.string(), pa.large_string(), pa.binary(), pa.date32(), pa.time64("ns"),
    pa.timestamp("s"), pa.timestamp("ns", "Europe/Berlin"), pa.duration("us"), pa.null(), pa.decimal128(38, 10),
    pa.list_(pa.float64()), pa.struct([("a", pa.int8())]), pa.dictionary(pa.int8(), pa.string()), pa.float32(),
])  # fmt: skip


@SHARED
@given(
    types=st.tuples(COLUMNS, COLUMNS, COLUMNS, COLUMNS),
    rows=st.sampled_from([0, 1, 30]),
    metadata=st.dictionaries(st.binary(max_size=20), st.binary(max_size=50), max_size=3),
)
def test_columns_of_any_type_and_metadata_are_read_or_refused(
    folder: Path, types: tuple[pa.DataType, ...], rows: int, metadata: dict[bytes, bytes]
) -> None:
    fields = [
        pa.field(n, t, metadata={b"PARQUET:field_id": b"-1"}) for n, t in zip(table().column_names, types, strict=True)
    ]
    whole = {b"ARROW:schema": b"x", b"pandas": b"{", **metadata}
    content = pa.Table.from_arrays([_filled(one.type, rows) for one in fields], schema=pa.schema(fields, whole))
    out = io.BytesIO()
    try:
        pq.write_table(content, out)
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
        return
    look(folder, "parquet", out.getvalue())


def _filled(kind: pa.DataType, rows: int) -> pa.Array:
    try:
        return pa.array(range(rows), pa.int64()).cast(kind)
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
        return pa.nulls(rows, kind)


def test_a_parquet_file_that_says_it_is_endless_takes_no_memory(folder: Path) -> None:
    content = WHOLE["parquet"]
    look(folder, "parquet", content[:-8] + struct.pack("<I", 2**31 - 1) + b"PAR1")
    look(folder, "parquet", content[:-8] + struct.pack("<I", 2**32 - 1) + b"PAR1")
    look(folder, "parquet", content.replace(struct.pack("<B", STEPS * 2), b"\xfe"))


@pytest.mark.parametrize("kind", ["arrow", "stream"])
def test_offsets_that_lead_out_of_an_arrow_file_are_refused(folder: Path, kind: str) -> None:
    """Its buffers are read where they lie: whoever followed them would read another's memory, or none."""
    out = io.BytesIO()
    make = pa.ipc.new_file if kind == "arrow" else pa.ipc.new_stream
    with make(out, table().schema) as writer:
        writer.write_table(table())
    offsets = struct.pack("<4i", 0, 1, 2, 3)
    assert out.getvalue().count(offsets) == 1
    file = folder / "altered.arrow"
    file.write_bytes(out.getvalue().replace(offsets, struct.pack("<4i", 0, 1, 2**30, 3)))
    with pytest.raises(InputError, match=r"altered\.arrow' cannot be read"):
        read(made.make_config(file).data)
