"""A retrainer from what asks to what is served: promoted, refused, cut off, killed, out of room."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import polars as pl
import pytest

from lstm_ray.errors import InputError
from lstm_ray.model import stored
from lstm_ray.model.policy import Policy
from lstm_ray.on_ray import update
from lstm_ray.registry.account import read
from lstm_ray.registry.folder import at
from lstm_ray.registry.ledger import Ledger
from lstm_ray.retrain import attempt, registered, work
from lstm_ray.retrain.gate import REFERENCE
from lstm_ray.retrain.job import asked, retrain, watch
from lstm_ray.retrain.state import RETRAIN, attempts, folder_of, only_one
from lstm_ray.serving.bundle import find
from tests.retrain import worlds

LENIENT = ["retrain.max_worse=0.9"]
"""What is new here is another world, of which a second of training forgets a little of the old one."""
ROOT = Path(__file__).parents[2]
KILLED_AT = """
import os, signal, sys
from importlib import import_module
from lstm_ray.lifecycle import STAGES
from lstm_ray.model import checkpoint
from lstm_ray.on_ray import update
from lstm_ray.retrain import attempt
from lstm_ray.retrain.job import retrain
for name in ("environment", "preprocess", "split", "train", "evaluate"):
    import_module(STAGES[name].function.partition(":")[0])
run, data, *overrides = sys.argv[1:]
kept, saved = attempt.keep, checkpoint.save
def keep(folder, state):
    if state.step == point:
        os.kill(os.getpid(), signal.SIGKILL)
    kept(folder, state)
def save(training, folder):
    saved(training, folder)
    if point == "epoch":
        os.kill(os.getpid(), signal.SIGKILL)
attempt.keep, checkpoint.save = keep, save
for line in sys.stdin:
    point = line.strip()
    child = os.fork()
    if not child:
        retrain(run, [data], overrides=overrides)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
"""A process for each point that it is told, which ends itself there, as nobody can ask it to: when a step is done and not yet
written down, or in mid-training."""


def champion(run: Path) -> str:
    return stored.version(find(run))


def events(run: Path) -> list[str]:
    return [entry.event for entry in Ledger(at(run)).read()]


def test_a_challenger_that_is_better_takes_over_and_the_next_goes_on_from_it(
    run: Path, new_rows: Callable[..., str]
) -> None:
    before, said = champion(run), list[str]()
    first = retrain(run, [new_rows()], overrides=LENIENT, say=said.append)
    assert first.promoted
    assert champion(run) == first.challenger != before
    assert [event for event in events(run) if event != "promoted"] == ["asked", "trained", "judged"]
    assert any("the gate says yes" in words for words in said)
    judged = next(entry for entry in Ledger(at(run)).read() if entry.event == "judged")
    assert judged.evidence["slices"][0]["challenger"] < judged.evidence["slices"][0]["champion"]
    account = read(at(run))
    assert account is not None
    assert account.previous == before
    page = (first.folder / "gate" / "report.html").read_text()
    assert "Is the challenger better" in page
    # The next one's champion is the first challenger: its table, its reference slice, its pace.
    second = retrain(run, [new_rows(worlds.OLD + worlds.NEW, 120, seed=3)], overrides=LENIENT)
    found = attempts(folder_of(run))[-1]
    assert (found.origin, found.champion) == ("0001", first.challenger)
    assert found.joined is not None
    assert found.joined.old == 2 * (worlds.OLD + worlds.NEW)
    assert found.pace.learning_rate == 0.01
    assert second.verdict is not None
    table = pl.read_parquet(second.folder / "table" / "*.parquet")
    assert table.filter(pl.col("retrain_weight") == 0).height == found.joined.reference == 72
    policy = Policy.load(second.folder / "policy")
    assert policy.config.train.learning_rate == pytest.approx(0.3 * 0.01)


def test_a_challenger_that_learned_nothing_true_is_refused_and_kept_for_the_record(
    run: Path, new_rows: Callable[..., str]
) -> None:
    before, file = champion(run), new_rows(period=24)
    rows = pd.read_csv(file)
    early = rows["when"] < rows["when"].sort_values().iloc[int(0.7 * len(rows))]
    rows.loc[early, "load"] = rows.loc[early, "load"].sample(frac=1.0, random_state=1).to_numpy()
    rows.to_csv(file, index=False)
    found = retrain(run, [file], overrides=["retrain.new_share=0.9"])
    assert not found.promoted
    assert champion(run) == before
    assert "not better for sure" in found.why[0]
    assert "series 'a'" in (found.folder / "gate" / "verdict.json").read_text()
    assert "series 'a'" not in (at(run) / "ledger.jsonl").read_text(), "what cannot be forgotten names no series"
    assert found.told()["verdict"] == "refused"
    refused = [entry for entry in Ledger(at(run)).read() if entry.event == "refused"]
    assert len(refused) == 1
    assert refused[0].evidence["why"].startswith(found.why[0])
    account = read(at(run))
    assert account is not None
    assert account.challenger == found.challenger


def test_a_challenger_that_forgets_is_refused_however_good_it_is_on_what_is_new(
    run: Path, new_rows: Callable[..., str]
) -> None:
    found = retrain(run, [new_rows()], overrides=["retrain.new_share=0.99", "retrain.start=anew"])
    assert found.verdict is not None
    whole = {one["stretch"]: one for one in found.verdict["slices"] if one["name"] == "all"}
    assert whole["newest"]["growth"] < -0.5
    assert whole[REFERENCE]["growth"] > 0.5
    assert not found.promoted
    assert all(reason.startswith("reference stretch") for reason in found.why)


def test_a_retrainer_that_is_killed_at_any_step_leaves_the_champion_and_goes_on_to_one_end(
    run: Path, new_rows: Callable[..., str]
) -> None:
    before, file = champion(run), new_rows()
    command = [sys.executable, "-W", "ignore", "-c", KILLED_AT, str(run), file, *LENIENT]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for point in ("joined", "epoch", "trained", "judged", "ended"):
            process.stdin.write(f"{point}\n")
            process.stdin.flush()
            assert int(process.stdout.readline()) == -signal.SIGKILL, f"it was not killed at '{point}'"
            served = Policy.of(find(run)).version
            # The registry takes the challenger in the last step, as a whole.
            assert (served == before) == (point != "ended")
            assert Ledger(at(run)).verify()[0] == len(events(run))
        process.stdin.close()
    found = retrain(run, overrides=LENIENT)
    assert found.promoted
    assert champion(run) == found.challenger == served
    counted = Counter(entry.event for entry in Ledger(at(run)).read() if entry.evidence.get("attempt") == found.attempt)
    assert counted == dict.fromkeys(["asked", "trained", "judged", "promoted"], 1)
    account = read(at(run))
    assert account is not None
    assert account.champions.count(found.challenger) == 1
    assert len(attempts(folder_of(run))) == 1


@pytest.mark.parametrize("where", ["joined", "trained", "judged"])
def test_a_disk_without_room_leaves_the_champion_and_the_same_command_goes_on(
    run: Path, new_rows: Callable[..., str], monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    before = champion(run)

    def full(*given: object, **more: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "somewhere")

    place = {
        "joined": (pl.DataFrame, "write_parquet"),
        "trained": (work, "write_bundle"),
        "judged": (work, "page_of"),
    }
    with monkeypatch.context() as patched:
        patched.setattr(*place[where], full)
        for _ in range(3):
            with pytest.raises(InputError, match="no room to write 'somewhere'"):
                retrain(run, [new_rows()], overrides=LENIENT)
    assert champion(run) == before
    found = retrain(run, overrides=LENIENT)
    assert found.attempt == "0001", "it is the same attempt"
    assert found.promoted


def test_a_step_that_fails_again_is_given_up_and_told(
    run: Path, new_rows: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*given: object) -> None:
        raise InputError("the loss is no longer finite")

    monkeypatch.setattr(work, "run_stages", lambda *given, **more: fail())
    for _ in range(attempt.MOST_FAILURES):
        with pytest.raises(InputError, match="no longer finite"):
            retrain(run, [new_rows()])
    ended = next(entry for entry in Ledger(at(run)).read() if entry.event == "ended")
    assert ended.evidence == {"attempt": "0001", "after": "joined", "why": "the loss is no longer finite"}
    monkeypatch.undo()
    assert retrain(run, [new_rows()], overrides=LENIENT).attempt == "0002"


def test_a_promotion_that_is_refused_again_is_given_up_and_one_that_finds_nobody_waits(
    run: Path, new_rows: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before, file = champion(run), new_rows()

    def fail(words: str) -> None:
        raise InputError(words)

    with monkeypatch.context() as patched:
        patched.setattr(update, "registry_of", lambda folder: fail("the registry is held"))
        for _ in range(attempt.MOST_FAILURES + 1):
            with pytest.raises(InputError, match="is held"):
                retrain(run, [file], overrides=LENIENT)
    assert attempts(folder_of(run))[0].step == "judged"
    monkeypatch.setattr(update, "require_fit", lambda *given: fail("clients would break"))
    with pytest.raises(InputError, match="clients would break"):
        retrain(run, overrides=LENIENT)
    assert events(run)[-2:] == ["refused", "ended"]
    assert champion(run) == before
    monkeypatch.undo()
    assert retrain(run, [file], overrides=LENIENT).attempt == "0002"


def test_a_champion_that_came_meanwhile_is_not_replaced_by_one_judged_beside_another(
    run: Path, new_rows: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = retrain(run, [new_rows()], overrides=LENIENT)
    compare = work.compare

    def meanwhile(*given: object) -> object:
        verdict = compare(*given)  # type: ignore[arg-type]
        monkeypatch.setattr(registered, "champion", lambda run: stored.read(other.folder / "champion"))
        return verdict

    monkeypatch.setattr(work, "compare", meanwhile)
    found = retrain(
        run, [new_rows(worlds.OLD + worlds.NEW, 120, seed=3)], overrides=[*LENIENT, "retrain.confidence=0.51"]
    )
    assert not found.promoted
    assert champion(run) == other.challenger
    if found.verdict is not None and found.verdict["promoted"]:
        assert "became champion while it was trained" in found.why[0]


def test_only_one_retrainer_works_on_a_run(run: Path, new_rows: Callable[..., str]) -> None:
    with only_one(folder_of(run)), pytest.raises(InputError, match="another process retrains this run"):
        retrain(run, [new_rows()])
    assert not attempts(folder_of(run))


def test_what_is_no_run_is_refused_and_stays_as_it_was(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no run directory"):
        retrain(tmp_path, ["rows.csv"])
    assert not list(tmp_path.iterdir())
    with pytest.raises(InputError, match="is on no disk of this machine"):
        retrain("s3://bucket/run")


def test_too_few_rows_begin_no_attempt(run: Path, new_rows: Callable[..., str]) -> None:
    with pytest.raises(InputError, match=r"200 new rows, and retrain\.least_rows asks for 201"):
        retrain(run, [new_rows(steps=100)], overrides=["retrain.least_rows=201"])
    assert not attempts(folder_of(run))
    with pytest.raises(InputError, match="--set takes fields of the section retrain alone"):
        retrain(run, [new_rows()], overrides=["train.batch=4"])


def test_a_watch_retrains_when_an_alarm_asks_and_survives_a_server_that_is_away(
    run: Path, new_rows: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lstm_ray.retrain.job.time.sleep", lambda seconds: None)
    monkeypatch.setattr("lstm_ray.retrain.ground.Ground.num_new", lambda self, since=0: 1_000)
    assert asked(run) == []
    alarm = {"kind": "drift", "what": "load", "text": "'load' has moved"}
    answers: list[object] = [InputError("the server is away")] * 2 + [{"alarms": [alarm]}] * 10

    def monitor(run: Path, deploy: object) -> object:
        answer = answers.pop(0)
        if isinstance(answer, InputError):
            raise answer
        return answer

    monkeypatch.setattr(registered, "monitor", monitor)
    said: list[str] = []
    outcomes = list(watch(run, [new_rows()], LENIENT, said.append, rounds=6))
    assert said[0] == "not now: the server is away"
    assert said.count("not now: the server is away") == 1
    assert len(outcomes) == 1, "after a challenger, an alarm that stays waits for the cooldown"
    assert attempts(folder_of(run))[0].reasons == ["alarm of drift: 'load' has moved"]


def test_tables_of_refused_challengers_are_removed_and_those_that_are_needed_stay(
    run: Path, new_rows: Callable[..., str]
) -> None:
    refused = retrain(run, [new_rows()], overrides=["retrain.max_worse=0.001"])
    assert not refused.promoted
    assert (refused.folder / "table").exists(), "the newest stays, to be looked at"
    promoted = retrain(run, [new_rows()], overrides=LENIENT)
    assert not (refused.folder / "table").exists()
    assert (refused.folder / "gate" / "report.html").exists()
    assert (promoted.folder / "table").exists()


def test_the_command_ends_with_one_line_of_json(
    run: Path, new_rows: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    from lstm_ray.retrain.terminal import retrain_run

    retrain_run(str(run), [], False, False, [], True)
    lines = capsys.readouterr().out.splitlines()
    assert "nothing asks for a challenger" in lines[0]
    assert json.loads(lines[-1])["verdict"] == "not asked"
    retrain_run(str(run), [new_rows()], False, False, LENIENT, True)
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["promoted"]
    assert (told["verdict"], told["attempt"]) == ("promoted", "0001")
    assert (run / RETRAIN / "0001" / "gate" / "verdict.json").exists()
