"""A folder on the driver's machine, as processes elsewhere see it: their copies, and what of them gets back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lstm_ray.errors import InputError
from lstm_ray.on_ray import folder as module
from lstm_ray.on_ray.folder import INCOMING, Copy, Porter, shared


class Near:
    """A porter without an actor: what it is asked it does at once."""

    def __init__(self, root: Path) -> None:
        self.porter, self.calls = Porter(root), list[str]()

    def __getattr__(self, method: str) -> Any:
        class Asked:
            @staticmethod
            def remote(*given: Any) -> Any:
                self.calls.append(method)
                return getattr(self.porter, method)(*given)

        return Asked


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A folder with a checkpoint and a file that another process is writing."""
    monkeypatch.setattr(module, "CHUNK_BYTES", 4)
    monkeypatch.setattr(module.cluster, "answer", lambda found: found)
    found = tmp_path / "root"
    (found / "trial/epoch-1").mkdir(parents=True)
    (found / "trial/epoch-1/weights").write_bytes(b"ten bytes!")
    (found / "trial/facts").write_text("")
    (found / "trial/.facts-1").write_text("half")
    return found


def fetched(root: Path, folder: Path, name: str = "trial") -> tuple[Copy, Near]:
    near = Near(root)
    copy = Copy(folder / "copy" / name, Path(name), near)
    copy.fetch()
    return copy, near


def names(folder: Path) -> list[str]:
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())


def test_a_copy_holds_what_is_whole_below_its_name(root, tmp_path):
    (root / "other").write_text("of somebody else")
    copy, _ = fetched(root, tmp_path)
    assert names(copy.path) == ["epoch-1/weights", "facts"]
    assert (copy.path / "epoch-1/weights").read_bytes() == b"ten bytes!"


def test_what_changed_in_a_copy_gets_back_and_nothing_else_is_sent(root, tmp_path):
    copy, near = fetched(root, tmp_path)
    copy.keep()
    assert set(near.calls) == {"files", "read"}, "nothing changed"
    (copy.path / "epoch-2").mkdir()
    (copy.path / "epoch-2/weights").write_bytes(bytes(range(11)))
    (copy.path / "facts").write_text("two epochs")
    (copy.path / ".facts-2").write_text("half")
    (copy.path / "epoch-1/weights").unlink()
    copy.keep()
    assert names(root / "trial") == [".facts-1", "epoch-2/weights", "facts"]
    assert not (root / "trial/epoch-1").exists(), "a checkpoint that is gone leaves no empty folder"
    assert (root / "trial/epoch-2/weights").read_bytes() == bytes(range(11))
    assert (root / "trial/facts").read_text() == "two epochs"
    num = len(near.calls)
    copy.keep()
    assert len(near.calls) == num


def test_a_file_that_was_emptied_is_emptied(root, tmp_path):
    copy, _ = fetched(root, tmp_path)
    (copy.path / "epoch-1/weights").write_bytes(b"")
    copy.keep()
    assert (root / "trial/epoch-1/weights").read_bytes() == b""


def test_a_copy_of_what_is_not_there_yet_is_empty_and_can_be_kept(root, tmp_path):
    copy, _ = fetched(root, tmp_path, "new")
    assert names(copy.path) == []
    (copy.path / "first").write_text("1")
    copy.keep()
    assert (root / "new/first").read_text() == "1"


def test_a_sender_that_is_killed_on_the_way_leaves_every_file_as_it_was(root, tmp_path):
    copy, near = fetched(root, tmp_path)
    (copy.path / "epoch-1/weights").write_bytes(b"another")
    near.porter.place = lambda *given: pytest.fail("killed before")  # type: ignore[method-assign]
    with pytest.raises(pytest.fail.Exception):
        copy.keep()
    assert (root / "trial/epoch-1/weights").read_bytes() == b"ten bytes!"


def test_each_call_may_be_made_twice(root):
    """Its actor may be lost on the way back, and Ray makes the call again."""
    porter = Porter(root)
    for _ in range(2):
        porter.write("parcel", 0, b"ab")
        porter.write("parcel", 2, b"cd")
    for _ in range(2):
        porter.place([("parcel", "trial/facts")], ["trial/epoch-1/weights"])
    assert (root / "trial/facts").read_bytes() == b"abcd"
    assert not (root / "trial/epoch-1").exists()


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "trial/../../secret", "link/secret"])
def test_no_name_leads_out_of_the_folder(root, name):
    (root.parent / "secret").write_text("secret")
    (root / "link").symlink_to(root.parent)
    porter = Porter(root)
    porter.write("parcel", 0, b"bad")
    for call in (
        lambda: porter.read(name, 0),
        lambda: porter.files(name),
        lambda: porter.place([("parcel", name)], []),
        lambda: porter.place([], [name]),
        lambda: porter.write(f"../../{name}", 0, b"bad"),
    ):
        with pytest.raises(ValueError, match="is not below"):
            call()
    assert (root.parent / "secret").read_text() == "secret"


def test_a_full_disk_on_the_driver_s_machine_is_told_in_plain_words(root, monkeypatch):
    def full(*given: Any) -> None:
        raise OSError(28, "No space left on device")

    porter = Porter(root)
    porter.write("parcel", 0, b"1")
    monkeypatch.setattr(module.os, "replace", full)
    with pytest.raises(InputError, match=r"cannot be written \(No space left on device\); make room there"):
        porter.place([("parcel", "trial/new")], [])


def test_on_a_cluster_of_its_own_a_process_works_in_the_folder_itself_and_no_actor_is_started(
    local_ray, tmp_path, monkeypatch
):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with shared(tmp_path / "new") as folder:
        assert folder.porter is None
        with folder.opened(Path("trial")) as copy:
            assert copy.path == tmp_path / "new/trial"
            (copy.path / "facts").write_text("1")
            copy.keep()
    assert names(tmp_path) == ["new/trial/facts"]


def test_where_other_nodes_may_join_an_actor_beside_the_driver_serves_them(local_ray, tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    (tmp_path / "facts").write_text("1")
    (tmp_path / INCOMING).mkdir()
    (tmp_path / INCOMING / "left").write_text("by a driver that was killed")
    with shared(tmp_path) as folder:
        with folder.opened() as here:
            assert here.path == tmp_path, "the driver's own node needs no copy"
        there = module.Folder(folder.path, "another node", folder.porter)
        with there.opened() as copy:
            assert copy.path != tmp_path
            assert names(copy.path) == ["facts"]
            (copy.path / "facts").write_text("2")
            copy.keep()
            assert (tmp_path / "facts").read_text() == "2"
            kept = copy.path
    assert not kept.exists()
    assert names(tmp_path) == ["facts"]
