"""Folders that were meant to hold a policy. Files whose hashes were made right are tried in tests/model/test_stored.py."""

from __future__ import annotations

import json
import os
import shutil
import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lstm_ray.errors import InputError
from lstm_ray.model.policy import Policy
from lstm_ray.model.smoke import smoke_of
from lstm_ray.model.stored import CARD, POLICY, SMOKE, WEIGHTS, with_card, write
from lstm_ray.registry import lineage
from lstm_ray.serving import bundle
from tests import made
from tests.fuzz.sandbox import held, spoilt

SHARED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
NAMES = (POLICY, WEIGHTS, SMOKE, CARD)
HOSTILE_NAMES = [
    "../sentinel",
    "/etc/passwd",
    "..",
    ".",
    "",
    "a/../../sentinel",
    "weights.safetensors/..",
    "\x00",
    "C:\\x",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("around") / "run"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def whole() -> dict[str, bytes]:
    policy = made.random_policy(made.make_config(), made.segments_of())
    policy.smoke = smoke_of(policy)
    return with_card(policy.files(), "# A card\n")


def laid(folder: Path, files: dict[str, bytes]) -> Path:
    shutil.rmtree(folder / "policy", ignore_errors=True)
    (folder / "policy").mkdir()
    for name, content in files.items():
        (folder / "policy" / name).write_bytes(content)
    return folder / "policy"


def look(folder: Path) -> None:
    for act in (Policy.load, bundle.find):
        with held(folder):
            act(folder / "policy")
    with held(folder):
        bundle.find(folder)
    with held(folder):
        list(lineage.lines(lineage.ancestry(folder)))


@SHARED
@given(data=st.data())
def test_spoilt_files_are_refused(folder: Path, whole: dict[str, bytes], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(NAMES))
    content = data.draw(spoilt(whole[name]))
    at = laid(folder, {**whole, name: content})
    look(folder)
    if content != whole[name]:
        with pytest.raises(InputError):
            Policy.load(at)


@pytest.mark.parametrize("length", [0, 1, 2**31, 2**40, 2**63 - 1, 2**64 - 1])
@pytest.mark.parametrize("kept", [8, 9, 100])
def test_a_header_that_says_it_is_longer_than_the_file_takes_no_memory(
    folder: Path, whole: dict[str, bytes], length: int, kept: int
) -> None:
    policy = made.random_policy(made.make_config(), made.segments_of())
    spoilt_weights = (struct.pack("<Q", length) + whole[WEIGHTS][8:])[:kept]
    laid(folder, _resealed(policy.files(), spoilt_weights))
    look(folder)
    with pytest.raises(InputError):
        Policy.load(folder / "policy")


@SHARED
@given(name=st.sampled_from(HOSTILE_NAMES) | st.text(max_size=12))
def test_names_of_other_files_are_refused_unopened(folder: Path, whole: dict[str, bytes], name: str) -> None:
    told = json.loads(whole[POLICY])
    told["files"][name] = "0" * 64
    laid(folder, {**whole, POLICY: json.dumps(told).encode()})
    look(folder)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["link out", "link to a folder", "loop", "folder", "pipe", "device"])
def test_what_is_no_file_of_the_folder_is_refused(folder: Path, whole: dict[str, bytes], name: str, kind: str) -> None:
    at = laid(folder, whole)
    (at / name).unlink()
    match kind:
        case "link out":
            (folder.parent / "outside").write_bytes(whole[name])
            (at / name).symlink_to(folder.parent / "outside")
        case "link to a folder":
            (at / name).symlink_to(at)
        case "loop":
            (at / name).symlink_to(at / name)
        case "folder":
            (at / name).mkdir()
        case "pipe":
            os.mkfifo(at / name)
        case _:
            (at / name).symlink_to("/dev/zero")
    look(folder)
    with pytest.raises(InputError):
        Policy.load(at)


def test_a_policy_is_written_into_its_folder_alone(folder: Path, whole: dict[str, bytes]) -> None:
    at = laid(folder, whole)
    (at / WEIGHTS).unlink()
    (folder.parent / "outside").write_bytes(b"another's")
    (at / WEIGHTS).symlink_to(folder.parent / "outside")
    with held(folder):
        write(at, whole)
    assert not (at / WEIGHTS).is_symlink()


def _resealed(files: dict[str, bytes], weights: bytes) -> dict[str, bytes]:
    from tests.model.test_stored import resealed

    return resealed({**files, WEIGHTS: weights}, {})
