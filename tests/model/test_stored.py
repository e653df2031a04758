"""What a saved policy may hold: files of older versions answer as they did; what was tampered with is refused in words."""

from __future__ import annotations

import hashlib
import json
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import numpy as arrays

from lstm_ray.errors import InputError
from lstm_ray.model import stored
from lstm_ray.model.consistency import HELD
from lstm_ray.model.policy import Forecast, Policy, SeriesInput
from lstm_ray.model.smoke import smoke_of
from lstm_ray.model.stored import CARD, POLICY, RESIDUALS, SMOKE, WEIGHTS
from lstm_ray.serving import bundle
from tests import made

BUNDLES = Path(__file__).parent / "bundles"
"""Small policies, each with answers, that the code of the time trained and saved."""
SEGMENTS = made.segments_of()


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    """A small bundle with every kind of file but residuals and conformal."""
    policy = made.random_policy(made.make_config(model__quantiles=[0.1, 0.5, 0.9]), SEGMENTS)
    policy.smoke = smoke_of(policy)
    return stored.with_card(policy.files(), "# A card\n")


def resealed(files: dict[str, bytes], changes: dict[str, Any]) -> dict[str, bytes]:
    """The files with parts of policy.json replaced and all hashes made right again, as whoever tampers with care would."""
    content = json.loads(files[POLICY])
    for path, value in changes.items():
        *parents, last = path.split("__")
        part = content
        for name in parents:
            part = part[name]
        part[last] = value
    return rehashed(files, content)


def rehashed(files: dict[str, bytes], content: Any) -> dict[str, bytes]:
    if isinstance(content.get("files"), dict):
        told = {n: hashlib.sha256(files[n]).hexdigest() if n in files else held for n, held in content["files"].items()}
        content["files"] = told
    content.pop("version", None)
    return {**files, POLICY: json.dumps({**content, "version": stored._version(content)}).encode()}


def complaint(files: dict[str, bytes]) -> str:
    with pytest.raises(InputError) as caught:
        Policy.of(files, "there")
    assert "there" in str(caught.value)
    return str(caught.value)


# Older versions


@pytest.mark.parametrize("folder", [path for path in sorted(BUNDLES.iterdir()) if "format1" not in path.name], ids=str)
def test_a_policy_of_an_older_version_answers_as_it_did(folder: Path) -> None:
    policy = Policy.load(folder)
    kept = json.loads((folder / "expected.json").read_text())
    found = policy.predict([SeriesInput(one["times"], one["columns"], one["future"]) for one in kept["series"]])
    for one, expected in zip(found, kept["answers"], strict=True):
        answer = one.values_HCQ if isinstance(one, Forecast) else one.probabilities  # type: ignore[union-attr]
        np.testing.assert_allclose(answer, expected, rtol=HELD["format"].most, atol=1e-6)


@pytest.mark.parametrize("name", ["format2_forecast", "format3_forecast"])
def test_a_policy_of_an_older_version_is_saved_in_todays_format(name: str, tmp_path: Path) -> None:
    policy = Policy.load(BUNDLES / name)
    policy.save(tmp_path)
    again = Policy.load(tmp_path)
    assert json.loads((tmp_path / POLICY).read_text())["format"] == stored.FORMAT
    assert (again.config, again.schema, again.scaler, again.facts) == (
        policy.config,
        policy.schema,
        policy.scaler,
        policy.facts,
    )
    assert (again.calibration is None) == (policy.calibration is None)


def test_what_was_renamed_since_is_carried_over() -> None:
    content = json.loads((BUNDLES / "format2_forecast" / POLICY).read_text())
    assert {"synthetic_fraction", "epochs"} <= content["config"]["plan"].keys()
    synthetic = Policy.load(BUNDLES / "format2_forecast").config.plan.synthetic
    assert synthetic is not None
    assert (synthetic.fraction, synthetic.epochs) == (0.25, 5)


def test_optional_files_of_an_older_version_are_read_and_hashed() -> None:
    files = stored.read(BUNDLES / "format3_forecast")
    policy = Policy.of(files)
    assert policy.residuals is not None
    assert policy.calibration is not None
    complaint({**files, RESIDUALS: files[RESIDUALS][:-1] + b"\0\0"})


def test_the_first_format_is_refused_with_the_reason() -> None:
    with pytest.raises(InputError, match=r"format 1, under which networks of several shapes.*train it again"):
        Policy.load(BUNDLES / "format1_forecast")


# Files, hashes and the card


@pytest.mark.parametrize("name", [WEIGHTS, SMOKE, CARD])
def test_every_file_is_held_by_its_hash(files: dict[str, bytes], name: str, tmp_path: Path) -> None:
    found = complaint({**files, name: files[name] + b" "})
    assert "hashes do not match" in found
    assert f"{name} is not the one" in found
    assert f"{name} is missing" in complaint({held: files[held] for held in files if held != name})
    stored.write(tmp_path, {**files, name: files[name] + b" "})
    for read in (Policy.load, bundle.pack, bundle.find):
        with pytest.raises(InputError, match="hashes do not match"):
            read(tmp_path)  # type: ignore[operator]
    (tmp_path / name).unlink()
    for read in (Policy.load, bundle.pack, bundle.find):
        with pytest.raises(InputError, match="holds no readable policy"):
            read(tmp_path)  # type: ignore[operator]


def test_a_complaint_is_told_once_and_names_the_file(files: dict[str, bytes], tmp_path: Path) -> None:
    told = json.loads(files[POLICY])
    for spoilt in (told | {"facts": {"mae": 0}}, told | {"files": told["files"] | {"evil.pkl": "0" * 64}}):
        found = complaint({**files, POLICY: json.dumps(spoilt).encode()})
        assert f"{POLICY} says other than its version" in found
        assert "InputError" not in found
    stored.write(tmp_path, files)
    (tmp_path / WEIGHTS).unlink()
    with pytest.raises(InputError, match=f"{WEIGHTS} is missing; copy the whole folder"):
        Policy.load(tmp_path)


def test_a_card_may_change_and_the_version_stays(files: dict[str, bytes]) -> None:
    other = stored.with_card(files, "# Audited\n")
    assert bundle.card(other) == "# Audited\n"
    assert Policy.of(other).version == Policy.of(files).version == json.loads(other[POLICY])["version"]
    assert "hashes do not match" in complaint({**other, CARD: files[CARD]})
    with pytest.raises(InputError, match="older format has no place for a model card"):
        stored.with_card(stored.read(BUNDLES / "format3_forecast"), "# Card")


def test_packed_files_are_all_that_policy_json_names(files: dict[str, bytes], tmp_path: Path) -> None:
    stored.write(tmp_path, files)
    assert bundle.pack(tmp_path) == bundle.find(tmp_path) == bundle.find(str(tmp_path)) == files
    assert bundle.unpack(files).smoke == json.loads(files[SMOKE])
    (tmp_path / "run").mkdir()
    tmp_path.joinpath("run/policy").symlink_to(tmp_path)
    assert bundle.find(tmp_path / "run") == files
    with pytest.raises(InputError, match="holds no policy; name a run directory"):
        bundle.find(tmp_path / "run/policy/none")


def test_a_policy_at_an_address_is_found_as_one_on_disk(files: dict[str, bytes], tmp_path: Path) -> None:
    stored.write(tmp_path / "tune/policy", files)
    assert bundle.find(f"file://{tmp_path}") == bundle.find(f"file://{tmp_path}/tune/policy") == files


def test_files_that_policy_json_does_not_name_are_not_read(files: dict[str, bytes], tmp_path: Path) -> None:
    stored.write(tmp_path, files)
    os.mkfifo(tmp_path / "evil.pkl")  # would block whoever opened it
    (tmp_path / RESIDUALS).symlink_to("/dev/zero")
    assert bundle.find(tmp_path) == files
    assert Policy.load(tmp_path).residuals is None


def test_what_an_earlier_policy_left_goes_when_another_is_saved(files: dict[str, bytes], tmp_path: Path) -> None:
    stored.write(tmp_path, files)
    policy = Policy.load(tmp_path)
    policy.smoke = None
    policy.save(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {POLICY, WEIGHTS}


@pytest.mark.parametrize("name", [POLICY, WEIGHTS, CARD])
def test_a_link_that_leads_out_of_the_folder_is_refused(files: dict[str, bytes], name: str, tmp_path: Path) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "policy"
    stored.write(outside, files)
    stored.write(folder, files)
    (folder / name).unlink()
    (folder / name).symlink_to(outside / name)
    with pytest.raises(InputError, match=r"is a link to .* outside of it"):
        Policy.load(folder)
    (folder / name).unlink()
    (folder / name).symlink_to(name)
    with pytest.raises(InputError, match="holds no readable policy"):
        Policy.load(folder)


def test_links_within_the_folder_are_read(files: dict[str, bytes], tmp_path: Path) -> None:
    """As a Kubernetes volume mounts files."""
    stored.write(tmp_path / "..data", files)
    for name in files:
        (tmp_path / name).symlink_to(f"..data/{name}")
    assert bundle.find(tmp_path) == files


def test_a_policy_is_not_written_through_a_link(files: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("kept")
    (tmp_path / WEIGHTS).symlink_to("precious")
    stored.write(tmp_path, files)
    assert (tmp_path / "precious").read_text() == "kept"
    assert Policy.load(tmp_path)


NAMES = [
    "../evil.safetensors",
    "/etc/passwd",
    "weights.pkl",
    "policy.pt",
    "pytorch_model.bin",
    "a/b",
    "a\\b",
    "..",
    "",
    "\0",
]


@pytest.mark.parametrize("name", [*NAMES, POLICY])
def test_a_name_that_no_policy_holds_is_refused_unopened(files: dict[str, bytes], name: str, tmp_path: Path) -> None:
    spoilt = resealed({**files, name: b"x"} if name != POLICY else files, {f"files__{name}": "0" * 64})
    assert "it names " in complaint(spoilt)
    with pytest.raises(InputError, match="it names "):
        bundle.unpack(spoilt)
    stored.write(tmp_path, files)
    (tmp_path / POLICY).write_bytes(spoilt[POLICY])
    for read in (Policy.load, bundle.pack, bundle.find):
        with pytest.raises(InputError, match="it names "):
            read(tmp_path)  # type: ignore[operator]


# Contents whose hashes match, but that no policy was saved with


def test_a_key_written_twice_nan_and_deep_nests_are_refused(files: dict[str, bytes]) -> None:
    told = files[POLICY]
    assert "the key 'format' is written twice" in complaint({**files, POLICY: told.replace(b"{", b'{"format": 4,', 1)})
    assert "NaN is no number" in complaint({**files, POLICY: told.replace(b'"facts": {}', b'"facts": {"a": NaN}')})
    assert "holds no readable policy" in complaint({**files, POLICY: b'{"a":' * 100_000})
    assert "holds no readable policy" in complaint({**files, POLICY: b'{"format": 4, "a": ' + b"9" * 5_000 + b"}"})


def header(length: int, told: bytes) -> bytes:
    return struct.pack("<Q", length) + told


def tensor(dtype: str = "F32", shape: str = "[1]", offsets: str = "[0, 4]") -> bytes:
    told = f'{{"a": {{"dtype": "{dtype}", "shape": {shape}, "data_offsets": {offsets}}}}}'.encode()
    return header(len(told), told) + bytes(4)


WRONG_WEIGHTS = {
    "empty": b"",
    "a header larger than the file": header(1 << 62, b"{}"),
    "no JSON": header(2, b"{["),
    "offsets past the end": tensor(offsets="[0, 1000000]"),
    "a shape that overflows": tensor(shape="[4294967296, 4294967296, 4294967296]"),
    "negative offsets": tensor(offsets="[-4, 0]"),
    "an unknown type": tensor(dtype="PICKLE"),
    "a pickle": b"\x80\x04cposix\nsystem\n(S'touch /tmp/owned'\ntR.",
    "other tensors": tensor(),
}


@pytest.mark.parametrize("content", WRONG_WEIGHTS.values(), ids=WRONG_WEIGHTS)
def test_weights_that_are_no_tensors_of_this_network_are_refused(files: dict[str, bytes], content: bytes) -> None:
    assert "holds no readable policy" in complaint(resealed({**files, WEIGHTS: content}, {}))


def test_weights_of_another_shape_are_named(files: dict[str, bytes]) -> None:
    held = arrays.load(files[WEIGHTS])
    name = min(held)
    words = complaint(resealed({**files, WEIGHTS: arrays.save({**held, name: np.zeros((2, 3), np.float32)})}, {}))
    assert f"does not hold the network of its config: '{name}' has shape (2, 3)" in words


@pytest.mark.parametrize("field", ["hidden", "layers", "members"])
def test_a_config_that_asks_for_more_than_memory_is_refused_before_any_is_taken(
    files: dict[str, bytes], field: str
) -> None:
    words = complaint(resealed(files, {f"config__model__{field}": 2**40 if field != "hidden" else 10**7}))
    assert "holds no readable policy" in words


def test_loading_imports_nothing_that_a_policy_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "planted.py").write_text("raise SystemExit('owned')")
    monkeypatch.syspath_prepend(str(tmp_path))
    spoilt = resealed(made.random_policy(made.make_config(), SEGMENTS).files(), {"config__train__loss": "planted:loss"})
    assert Policy.of(spoilt).config.train.loss == "planted:loss"


WRONG: list[tuple[str, Any]] = [
    ("config", None),
    ("config__model__hidden", "wide"),
    ("schema", []),
    ("schema__step", 0.5),
    ("scaler__target", {"mean": "x"}),
    ("facts", 3),
    ("files", []),
    ("files", {}),
    ("residuals", 3),
]


@pytest.mark.parametrize(("path", "value"), WRONG)
def test_parts_that_are_not_as_saved_are_refused(files: dict[str, bytes], path: str, value: Any) -> None:
    if path == "residuals":
        files = {**files, RESIDUALS: b"no tensors"}
        content = json.loads(files[POLICY])
        assert complaint(rehashed(files, {**content, "files": {**content["files"], RESIDUALS: ""}, path: value}))
    else:
        assert complaint(resealed(files, {path: value}))


# Anything at all

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


def leaves(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The place of everything in a JSON value."""
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [path, *(place for key, value in inner for place in leaves(value, (*path, key)))]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_resealed_policy_json_does_more_than_load_or_be_refused(
    files: dict[str, bytes], data: st.DataObject
) -> None:
    content = json.loads(files[POLICY])
    path = data.draw(st.sampled_from(leaves(content)[1:]))
    part = content
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = data.draw(PLAIN)
    if path[-1] == "format" and len(path) == 1 and content["format"] in (2, 3):
        return
    loads_or_refuses(rehashed(files, content))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from([WEIGHTS, SMOKE, CARD]),
    st.floats(0, 1, exclude_max=True),
    st.binary(max_size=8),
    st.booleans(),
)
def test_no_resealed_file_does_more_than_load_or_be_refused(
    files: dict[str, bytes], name: str, where: float, put: bytes, cut: bool
) -> None:
    at = int(where * min(len(files[name]), 4_000))
    spoilt = files[name][:at] + put + (b"" if cut else files[name][at + len(put) :])
    loads_or_refuses(resealed({**files, name: spoilt}, {}))


def loads_or_refuses(files: dict[str, bytes]) -> None:
    refused = None
    try:
        Policy.of(files, "there")
    except InputError as error:
        refused = str(error)
    assert refused is None or "there" in refused
