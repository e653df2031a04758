"""The registry: what a run means by its policy, what is kept, and that a kill anywhere leaves it before or after."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from lstm_ray.errors import InputError
from lstm_ray.model.stored import POLICY, Files
from lstm_ray.model.stored import write as write_policy
from lstm_ray.registry import folder as folders
from lstm_ray.registry import policies
from lstm_ray.registry.account import Account, read
from lstm_ray.registry.folder import ACCOUNT, BEFORE, REGISTRY, HeldError, at, locked
from lstm_ray.registry.ledger import Ledger
from lstm_ray.registry.policies import NEW, Registry, lay
from lstm_ray.serving.bundle import find
from tests.serving.switching.test_register import packed, version


def run_with(folder: Path, files: Files) -> Path:
    """A run directory whose bundle is this policy."""
    write_policy(folder / "policy", files)
    return folder


def begun(run: Path, session: str = "one") -> tuple[Registry, Account]:
    registry = Registry(at(run), session)
    files = find(run)
    return registry, registry.begin(str(run), lay(registry.folder, files))


def test_a_run_means_its_registrys_champion_until_it_holds_a_version_never_met(tmp_path: Path) -> None:
    first, second, third = (packed(n) for n in range(3))
    run = run_with(tmp_path, first)
    assert find(run) == first
    registry, account = begun(run)
    registry.keep(account, second, "elsewhere")
    account.lineup = account.lineup.model_copy(update={"champion": version(second)})
    account.champions.append(version(second))
    registry.write(account)
    registry.close()
    assert find(run) == second, "a restarted server goes on with the champion"
    assert find(run / "policy") == first, "a policy's own folder is taken as it is"
    registry, account = begun(run, "two")
    assert (account.lineup.champion, account.previous) == (version(second), version(first))
    registry.close()
    run_with(tmp_path, third)
    assert find(run) == third
    registry, account = begun(run, "three")
    registry.close()
    assert account.champions == [version(first), version(second), version(third)]
    promoted = [entry for entry in Ledger(at(run)).read() if entry.event == "promoted"][-1]
    assert (promoted.evidence["policy"], promoted.evidence["why"]) == (version(third), NEW)
    write_policy(run / "policy", first)
    assert find(run) == third, "the first was met before"


def test_a_restart_keeps_what_lies_beside_the_same_champion(tmp_path: Path) -> None:
    run = run_with(tmp_path, packed())
    registry, account = begun(run)
    shadow = registry.keep(account, packed(1), "elsewhere")
    account.lineup = account.lineup.model_copy(update={"shadow": shadow})
    registry.write(account)
    registry.close()
    registry, account = begun(run, "two")
    assert account.lineup.shadow == shadow
    registry.close()
    write_policy(run / "policy", packed(2))
    registry, account = begun(run, "three")
    assert (account.lineup.shadow, account.running) == (None, None)
    registry.close()


def test_a_folder_of_an_older_version_gets_its_name_once_unless_its_server_still_has_it(tmp_path: Path) -> None:
    run = run_with(tmp_path, packed())
    registry, account = begun(run)
    registry.write(account)
    registry.close()
    (run / REGISTRY).rename(run / BEFORE)
    told = json.loads((run / BEFORE / ACCOUNT).read_text())
    for name in ("challenger", "met", "running", "ended", "notes"):
        del told[name]
    (run / BEFORE / ACCOUNT).write_text(json.dumps(told))
    lock = locked(run / BEFORE)
    assert at(run) == run / BEFORE
    os.close(lock)
    assert at(run) == at(run / "policy") == run / REGISTRY
    assert not (run / BEFORE).exists()
    found = read(run / REGISTRY)
    assert found is not None
    assert found.met == [version(packed())]


def test_a_challenger_is_kept_named_and_flagged_and_makes_no_room_for_others(tmp_path: Path) -> None:
    run = run_with(tmp_path, packed())
    registry, account = begun(run)
    refused = registry.challenge(account, packed(1), "retrain/0001", "refused", {"why": "worse"})
    registry.say(account)
    assert account.aliases() == {"champion": version(packed()), "challenger": refused}
    assert account.kept(refused).flags == ["refused"]  # type: ignore[union-attr]
    for number in range(2, policies.MAX_KEPT + 5):
        registry.keep(account, packed(number), "elsewhere")
    assert len(account.policies) == policies.MAX_KEPT
    assert account.kept(refused) is not None
    registry.unflag(account, refused)
    assert account.kept(refused).flags == []  # type: ignore[union-attr]
    registry.close()


def test_a_change_whose_process_was_killed_before_its_entry_is_told_once_by_the_next(tmp_path: Path) -> None:
    run = run_with(tmp_path, packed())
    registry, account = begun(run)
    registry.challenge(account, packed(1), "retrain/0001", "judged", {"p": 0.5})
    registry.close()
    assert [entry.event for entry in Ledger(at(run)).read()] == ["promoted", "served"], "killed before its entry"
    registry, account = begun(run, "two")
    assert [entry.event for entry in registry.ledger.read()] == ["promoted", "served", "judged", "served"]
    registry.close()
    registry, account = begun(run, "three")
    registry.challenge(account, packed(2), "retrain/0002", "judged", {"p": 0.4})
    registry.say(account)
    registry.close()
    begun(run, "four")[0].close()
    events = [entry.event for entry in Ledger(at(run)).read()]
    assert events == ["promoted", "served", "judged", "served", "served", "judged", "served"], "killed after its entry"


@pytest.mark.parametrize("killed_at", ["write", "replace"])
def test_a_kill_in_the_middle_leaves_what_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_at: str) -> None:
    run = run_with(tmp_path, packed())
    registry, account = begun(run)
    before = (registry.folder / ACCOUNT).read_bytes()

    def kill(*given: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(*((policies, "lay", kill) if killed_at == "write" else (Path, "replace", kill)))
        with pytest.raises(KeyboardInterrupt):
            registry.challenge(account, packed(1), "retrain/0001", "judged", {})
    registry.close()
    assert (at(run) / ACCOUNT).read_bytes() == before
    assert find(run) == packed()
    registry, account = begun(run, "two")
    assert [path.name for path in registry.folder.iterdir() if path.is_dir()] == [version(packed())]
    registry.close()


def test_a_full_disk_is_told_and_nothing_is_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_with(tmp_path, packed())
    registry, account = begun(run)

    def full(*given: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(policies.stored, "write", full)
        with pytest.raises(InputError, match=r"cannot be kept in .*: No space left on device; make room"):
            registry.keep(account, packed(1), "elsewhere")
    with monkeypatch.context() as patched:
        patched.setattr(policies.os, "fsync", full)
        with pytest.raises(InputError, match="cannot be written: No space left on device"):
            registry.write(account)
    registry.close()
    assert find(run) == packed()


def test_two_processes_do_not_hold_one_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_with(tmp_path, packed())
    registry, _ = begun(run)
    with pytest.raises(HeldError, match="another server serves this run"):
        Registry(at(run))
    monkeypatch.setattr(folders, "FREE_SECONDS", 0.0)
    registry.close()
    with Registry(at(run)):
        assert (at(run) / version(packed()) / POLICY).exists()
