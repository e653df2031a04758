"""The steps of one attempt: rows joined, a challenger trained and bundled, judged beside the champion. Decides nothing.

Each can be done again after it was cut off: what it leaves comes into place as a whole.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from lstm_ray.config import Config
from lstm_ray.data.parts import Boundaries
from lstm_ray.data.store import SplitFile, load_schema, load_segments
from lstm_ray.data.windows import Segments
from lstm_ray.lifecycle import run_stages
from lstm_ray.model import smoke
from lstm_ray.model.policy import Policy
from lstm_ray.monitor.drift.limits import FEWEST
from lstm_ray.on_ray.deploy import write_bundle
from lstm_ray.report.card.facts import facts_of
from lstm_ray.retrain import derived, disk
from lstm_ray.retrain.gate import NEWEST, REFERENCE, Verdict, judge
from lstm_ray.retrain.ground import Ground
from lstm_ray.retrain.joined import WEIGHT, Joined, write_table
from lstm_ray.retrain.measuring import stretch_of, test_of
from lstm_ray.retrain.state import BUNDLE, CHAMPION, CONFIG, TABLE, State, folder_of
from lstm_ray.retrain.stretches import Reference, Stretches, dates, reference
from lstm_ray.retrain.telling import GATE, figures_of, page_of, report_of
from lstm_ray.run_dir import REPORT, Report, RunDir
from lstm_ray.serving import bundle

VERDICT = "verdict.json"
SPREAD = 2
"""A monitor's limits are told from so many times the fewest stretches, where training has them."""


def slice_of(ground: Ground) -> Reference:
    """The reference slice of the run, fixed with its first attempt."""
    first = RunDir(ground.run)
    parts = first.read_model("split/boundaries.json", SplitFile).parts
    return reference(folder_of(ground.run), ground.config, load_schema(first), parts)


def join(ground: Ground, folder: Path, state: State) -> Joined:
    """Write the table and the config that is made for it. Raises InputError, and OSError as of a full disk."""
    new, cut, strange = ground.new(state.data)
    joined = write_table(folder / TABLE, ground.old(), new, cut, slice_of(ground), ground.config)
    joined = joined.model_copy(update={"left_out": joined.left_out + strange})
    split = dates(cut, ground.schema)
    config = derived.challenger(ground.config, folder / TABLE, WEIGHT, split, folder / CHAMPION, state.pace)
    disk.write(folder / CONFIG, config)
    return joined


def train(folder: Path, cut: Stretches, on_end: Callable[[str, Report, bool], None]) -> str:
    """Train, evaluate and bundle; returns the challenger's version. What a killed process left is gone on with."""
    config, run = disk.read(folder / CONFIG, Config), RunDir(folder)
    run_stages(config, run, ["evaluate"], on_end=on_end)
    policy = Policy.load(folder / "evaluate" / "policy")
    segments, bounds = load_segments(run)
    facts = facts_of(run, run.read_json("evaluate/metrics.json"))
    temporary = folder / f"{BUNDLE}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    write_bundle(temporary, policy, segments, bounds, facts, _watched(segments, bounds, cut, config))
    shutil.rmtree(folder / BUNDLE, ignore_errors=True)
    temporary.rename(folder / BUNDLE)
    return policy.version


def _watched(segments: Segments, bounds: Boundaries, cut: Stretches, config: Config) -> Boundaries:
    """What a monitor holds live values against: the newest of what the challenger learned, all that is new, and more where
    that is too short for limits. Against all of the old, what it was retrained for would go on raising alarms."""
    first, end = bounds["train"]
    num_series = max(1, len(set(segments.series)))
    needed = -(-SPREAD * FEWEST * config.monitor.window // num_series)
    new = (cut.first - segments.schema.axis_start) // segments.schema.step
    return {**bounds, "train": (max(first, min(new, end - needed)), end)}


def compare(ground: Ground, folder: Path, state: State) -> Verdict:
    """Judge the challenger beside the champion; leaves ``gate/`` with the report."""
    assert state.joined is not None, "rows are joined before a challenger is judged"
    run, slice_, config = RunDir(folder), slice_of(ground), ground.config
    challenger = bundle.unpack(bundle.pack(folder / BUNDLE))
    verdict = held_against(ground, Policy.load(folder / CHAMPION), challenger, folder)
    report = report_of(
        verdict, state.joined, slice_, config.retrain.max_worse, state.reasons, sum(state.seconds.values())
    )
    figures = figures_of(verdict, config.retrain.max_worse)
    with run.stage(GATE, challenger.version) as work:
        work.write_json(VERDICT, verdict.evidence())
        work.write_figures(figures)
        work.write_json(REPORT, report)
    run.write_bytes(f"{GATE}/report.html", page_of(run, state.name, config, report, figures, verdict).encode())
    return verdict


def held_against(ground: Ground, champion: Policy, challenger: Policy, folder: Path) -> Verdict:
    """Judge a policy beside another on what an attempt held out, and on the reference slice.

    Args:
        folder: of the attempt.
    """
    slice_, config = slice_of(ground), ground.config
    segments, bounds = load_segments(RunDir(folder))
    start, step = segments.schema.axis_start, segments.schema.step
    fixed = ((slice_.first - start) // step, (slice_.end - start) // step)
    newest, reference = (
        stretch_of(name, champion, challenger, segments, steps)
        for name, steps in ((NEWEST, bounds["test"]), (REFERENCE, fixed))
    )
    return judge(newest, reference, config.retrain, test_of(config), _smoke(challenger))


def _smoke(challenger: Policy) -> str:
    try:
        smoke.check(challenger)
    except smoke.SmokeError as error:
        return str(error)
    return ""
