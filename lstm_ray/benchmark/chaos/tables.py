"""Cases of chaos: tasks that die on a large table, while it is prepared and while it is forecast."""

from __future__ import annotations

from pathlib import Path

from lstm_ray.benchmark.chaos import checks
from lstm_ray.benchmark.chaos.outcome import Missed, Outcome, judged
from lstm_ray.benchmark.chaos.work import Strike, command, shot
from lstm_ray.benchmark.chaos.world import World
from lstm_ray.on_ray.nodes import Nodes

SERIES, MANY = 10_000, 30_000
"""Four blocks of rows to prepare, and twelve to forecast."""
ON_RAY = "preprocess.engine=ray"


def data_task(nodes: Nodes, folder: Path, name: str = "data-task", strike: Strike = shot) -> Outcome:
    """A task that prepares a block of the table."""
    world = World.at(folder, SERIES)
    calm, run = world.calm(nodes, "preprocess"), folder / f"{name}/run"
    with world.working(nodes, "preprocess", run, ON_RAY) as work:
        fault = strike(work, nodes, "ray::_prepared_runs")
        done = num_blocks(run)
        work.until(lambda: num_blocks(run) > done, "a block more")
        seconds = fault.seconds()
        work.ended()
        wrong = work.not_well() or checks.segments(run, calm)
    result = f"a block more after {done} of {num_blocks(run)}; every row once, the scaler as undisturbed without Ray"
    return judged("Data task, of preprocess", result, seconds, wrong)


def forecast_task(nodes: Nodes, folder: Path, name: str = "forecast-task", strike: Strike = shot) -> Outcome:
    """An actor that forecasts a block of series."""
    world, table = World.at(folder), World.at(folder, MANY).table
    calm = world.calm(nodes, "train")
    words = ["forecast", str(calm), "--data", str(table / "*.parquet"), "--out"]
    alone, out = folder / f"{name}/alone", folder / f"{name}/out"
    with command([*words, str(alone)], nodes.environment, folder / f"{name}/alone.log") as work:
        if work.ended():
            raise Missed(f"the forecast fails where nothing disturbs it: {work.said}")
    cluster = [*words, str(out), "--address", nodes.address]
    with command(cluster, nodes.environment, folder / f"{name}/out.log") as work:
        fault = strike(work, nodes, "ray::Worker.do")
        done = len(list(out.glob("part-*.parquet")))
        work.until(lambda: len(list(out.glob("part-*.parquet"))) > done, "a part more")
        seconds = fault.seconds()
        work.ended()
        wrong = work.not_well() or checks.same_rows(
            out / checks.PARQUET, alone / checks.PARQUET, ["series", "time", "target"]
        )
    result = f"a part more after {done}; every series once, the numbers as undisturbed without Ray"
    return judged("batch-forecast task", result, seconds, wrong)


def num_blocks(run: Path) -> int:
    """Blocks that are prepared, of a stage that is under way or has ended."""
    return len([*run.glob(".work/preprocess-*/segments/*.parquet"), *run.glob("preprocess/segments/*.parquet")])
