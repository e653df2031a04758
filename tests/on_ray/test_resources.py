"""What stages ask for, against nodes that are made up; tests/cluster/test_resources.py has real ones."""

from __future__ import annotations

from typing import Any

import pytest
import ray
from ray._common.ray_option_utils import validate_actor_options, validate_task_options
from ray.serve.schema import RayActorOptionsSchema
from ray.train.v2._internal.execution.controller.state import RestartingState, RunningState, SchedulingState
from ray.train.v2._internal.execution.scaling_policy import ResizeDecision
from ray.train.v2.api.config import ScalingConfig

from lstm_ray.errors import InputError
from lstm_ray.on_ray import resources, serve, workers
from lstm_ray.on_ray.resources import Node, Process
from lstm_ray.on_ray.tuning import searching
from lstm_ray.sections.resources import ResourcesConfig, ShareConfig
from tests import made


def node(number: int, cpus: float = 1, labels: dict[str, str] | None = None, **offers: float) -> Node:
    return Node(f"{number:056x}", f"10.0.0.{number}", {"CPU": cpus, **offers}, labels or {})


def asks(**values: Any) -> ResourcesConfig:
    return ResourcesConfig(**{"wait_seconds": 0, **values})


FULL = asks(
    evaluate=ShareConfig(cpus=2, gpus=1, memory_bytes=1e9, labels={"market": "!spot"}, custom={"licence": 0.5}),
    placement="spread",
)


@pytest.fixture
def cluster_of(monkeypatch: pytest.MonkeyPatch) -> Any:
    def made_up(*found: Node) -> list[Node]:
        monkeypatch.setattr(resources, "nodes", lambda: list(found))
        return list(found)

    return made_up


def test_each_library_of_ray_takes_what_is_asked_for_in_its_own_words(cluster_of: Any) -> None:
    asked = resources.process(FULL, "evaluate", 1.0)
    options = asked.options()
    assert options == {
        "num_cpus": 2,
        "num_gpus": 1,
        "memory": 1e9,
        "resources": {"licence": 0.5},
        "label_selector": {"market": "!spot"},
        "scheduling_strategy": "SPREAD",
    }
    validate_task_options(options, in_options=True)
    validate_actor_options(options, in_options=True)
    assert RayActorOptionsSchema(**asked.replica()).label_selector == {"market": "!spot"}
    scaled = ScalingConfig(num_workers=3, **asked.scaling())
    assert scaled.placement_strategy == "SPREAD"
    assert scaled.total_resources == {"CPU": 6, "GPU": 3, "memory": 3e9, "licence": 1.5}


def test_where_nothing_is_said_what_is_derived_is_asked_for_and_nothing_more() -> None:
    asked = resources.process(asks(), "plan", 0.5)
    assert asked.options() == {"num_cpus": 0.5, "num_gpus": 0.0}
    assert asked.scaling() == {
        "use_gpu": False,
        "resources_per_worker": {"CPU": 0.5},
        "placement_strategy": "PACK",
    }


def test_processes_are_counted_node_by_node_for_none_is_cut_between_two() -> None:
    found = [node(1, 3), node(2, 3, {"market": "spot"}), node(3, 1, {"market": "spot"}, licence=1)]
    assert resources.held(Process("plan", {"CPU": 2}, {}), found) == 2
    assert resources.held(Process("plan", {"CPU": 0.1}, {}), found) == 70
    assert resources.held(Process("plan", {"CPU": 1}, {"market": "spot"}), found) == 4
    assert resources.held(Process("plan", {"CPU": 1, "licence": 0.5}, {}), found) == 1
    assert resources.held(Process("plan", {"CPU": 1}, {"market": "none"}), found) == 0


@pytest.mark.parametrize(
    ("found", "num", "share", "words"),
    [
        (
            [node(1, 2)],
            3,
            {"cpus": 1},
            ["could hold 2 of 3", "Missing: 1 CPU, so that", "10.0.0.1 2 CPUs", "train.workers"],
        ),
        (
            [node(1, 2), node(2, 2)],
            2,
            {"cpus": 3},
            ["could hold 0 of 2", "Missing: 6 CPUs", "each process fits on one node"],
        ),
        (
            [node(1, 2)],
            1,
            {"gpus": 2},
            ["1 process with 1 CPU, 2 GPUs was asked for", "Missing: 2 GPUs", "2 CPUs, 0 GPUs"],
        ),
        ([node(1, 2, memory=1e9)], 1, {"memory_bytes": 4e9}, ["Missing: 4 GB of memory", "1 GB of memory"]),
        ([node(1, 2)], 2, {"custom": {"licence": 1}}, ["Missing: 2 licence", "0 licence"]),
        ([node(1, 2)], 1, {"labels": {"market": "spot"}}, ["Missing: no node has market: spot", "without that label"]),
        (
            [node(1, 2, {"market": "spot"}), node(2, 8, {"market": "demand"})],
            4,
            {"labels": {"market": "spot"}},
            ["could hold 2 of 4", "Missing: 2 CPUs on nodes with market: spot", "10.0.0.2 8 CPUs, market: demand"],
        ),
        (
            [node(1, 2), node(2, 0, licence=2)],
            1,
            {"custom": {"licence": 1}},
            ["Missing: nodes that have all of it at once"],
        ),
        ([], 1, {}, ["Missing: 1 CPU", "Nodes: none"]),
        ([node(n, 1) for n in range(1, 30)], 30, {}, ["could hold 29 of 30", "and 21 more"]),
    ],
)
def test_the_error_names_what_is_missing_what_there_is_and_the_fix(
    cluster_of: Any, found: list[Node], num: int, share: dict[str, Any], words: list[str]
) -> None:
    cluster_of(*found)
    own = asks(train=ShareConfig(**share))
    with pytest.raises(InputError) as caught:
        resources.wait_for(resources.process(own, "train", 1.0), num, own)
    is_labelled = "no node has" in " ".join(words)
    fix = "Change resources.train.labels" if is_labelled else "Lower resources.train or train.workers"
    for word in [*words, "resources.train: ", fix, "resources.wait_seconds"]:
        assert word in str(caught.value)


def test_nodes_that_come_while_it_waits_are_taken_and_the_demand_is_withdrawn(
    local_ray: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked, seen = Process("plan", {"CPU": 1}, {"market": "spot"}), list[int]()

    def growing() -> list[Node]:
        seen.append(len(seen))
        return [node(1), node(2, 1, {"market": "spot"})] if len(seen) > 3 else [node(1)]

    monkeypatch.setattr(resources, "nodes", growing)
    resources.wait_for(asked, 1, asks(wait_seconds=60))
    assert len(seen) == 4
    told = " ".join(capsys.readouterr().err.split())
    assert told.count("no nodes could hold that; waiting up to 60 s") == 1
    groups = ray.util.placement_group_table().values()
    assert all(group["state"] == "REMOVED" for group in groups if {"CPU": 1.0} in group["bundles"].values())


def test_a_share_is_one_that_lets_every_node_hold_whole_processes(cluster_of: Any) -> None:
    """Three workers on two nodes of one CPU: two thirds each would fit by the sum, and never be placed."""
    cluster_of(node(1), node(2))
    scaled, _ = workers.scaling(made.make_config(train__workers=3), "memory")
    assert scaled.resources_per_worker == {"CPU": 0.5}


@pytest.mark.parametrize(
    ("found", "placement", "worker_cpus", "task_cpus"),
    [
        ([node(1, 2)], "auto", 0.5, 1.0),
        ([node(1), node(2)], "auto", 0.5, 1.0),
        ([node(1), node(2)], "spread", 0.5, 0.5),
        ([node(1, 1)], "auto", 0.25, 0.5),
        ([node(1, 8), node(2, 8)], "spread", 1.0, 1.0),
    ],
)
def test_a_task_of_ray_data_finds_room_on_some_node_beside_all_workers(
    cluster_of: Any, found: list[Node], placement: str, worker_cpus: float, task_cpus: float
) -> None:
    cluster_of(*found)
    scaled, own = workers.scaling(made.make_config(train__workers=2, resources__placement=placement), "stream")
    assert scaled.resources_per_worker == {"CPU": worker_cpus}
    assert own == task_cpus


def test_data_cpus_are_left_free_and_where_they_cannot_be_it_is_said(cluster_of: Any) -> None:
    cluster_of(node(1, 8))
    wide = made.make_config(train__workers=4, train__threads=2, resources__data_cpus=4)
    assert workers.scaling(wide, "stream")[0].resources_per_worker == {"CPU": 1.0}
    assert workers.scaling(wide, "memory")[0].resources_per_worker == {"CPU": 2.0}
    tight = {"train__workers": 4, "resources__train": {"cpus": 1.5}, "resources__wait_seconds": 0}
    with pytest.raises(InputError, match=r"Missing: 1 CPU more, for resources\.data_cpus 3"):
        workers.scaling(made.make_config(**tight, resources__data_cpus=3), "stream")
    assert workers.scaling(made.make_config(**tight, resources__data_cpus=2), "stream")[1] == 1.0


def test_workers_that_would_fill_every_node_are_refused_where_batches_stream(cluster_of: Any) -> None:
    cluster_of(node(1, 1), node(2, 1, {"market": "demand"}), node(3, 0.01))
    own = {"train__workers": 2, "resources__train": {"cpus": 1}, "resources__data_cpus": 0.01}
    with pytest.raises(InputError, match="leave no CPU on any of them to Ray Data"):
        workers.scaling(made.make_config(**own), "stream")


def test_labels_and_gpus_are_counted_on_the_nodes_that_have_them(cluster_of: Any) -> None:
    cluster_of(node(1, 64), node(2, 4, {"kind": "fast"}, GPU=2))
    config = made.make_config(train__workers=2, train__threads=8, resources__train={"labels": {"kind": "fast"}})
    scaled, _ = workers.scaling(config, "memory")
    assert scaled.use_gpu
    assert scaled.resources_per_worker == {"CPU": 2.0, "GPU": 1.0}
    assert scaled.label_selector == {"kind": "fast"}


def test_an_elastic_group_with_labels_grows_no_further_than_nodes_that_have_them(cluster_of: Any) -> None:
    """Ray Train counts the room on all nodes, and would decide again and again on a size that finds none."""
    cluster_of(node(1, 2, {"market": "demand"}), *[node(number, 2, {"market": "spot"}) for number in (2, 3, 4)])
    asked = made.make_config(train__workers=(1, 8), resources__train={"labels": {"market": "!spot"}})
    assert workers.scaling(asked, "memory")[0].num_workers == (1, 2)


def test_workers_that_get_less_than_their_threads_are_told_of(
    cluster_of: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster_of(node(1, 8))
    workers.scaling(made.make_config(train__workers=16), "memory")
    assert "each worker is given 0.5 CPUs" in capsys.readouterr().err
    workers.scaling(made.make_config(train__workers=8), "memory")
    assert not capsys.readouterr().err


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


RUNNING, GONE = RunningState(), RestartingState(None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("sizes", "task_cpus", "states", "after", "words"),
    [
        (3, 0.0, [GONE], 50, r"could hold 2 of 3"),
        (2, 0.5, [RUNNING], 50, r"nodes have left, and 2 workers fill those that stayed.*tasks of 0\.5 CPUs"),
        ((1, 8), 0.0, [GONE, GONE], 400, r"no group of 1 to 8 workers came up within 300 s"),
        ((1, 8), 0.0, [GONE, RUNNING], 4000, None),
        (2, 0.0, [GONE], 4000, None),
        (1, 0.5, [RUNNING], 4000, None),
    ],
    ids=["no room", "no room for tasks", "no group", "a group after all", "others hold the room", "room for tasks"],
)
def test_a_training_that_would_wait_for_ever_is_ended(
    cluster_of: Any,
    monkeypatch: pytest.MonkeyPatch,
    sizes: Any,
    task_cpus: float,
    states: list[Any],
    after: float,
    words: str | None,
) -> None:
    cluster_of(node(1, 2))
    clock = Clock()
    monkeypatch.setattr(workers, "time", clock)
    scaled, asked = ScalingConfig(num_workers=sizes), Process("train", {"CPU": 1}, {})
    own = asks(wait_seconds=40)
    watching = workers.EndWithoutRoom(asked, scaled, own, task_cpus)
    watching.after_controller_state_update(None, SchedulingState(ResizeDecision(watching.low, {"CPU": 1})))
    clock.now += 1
    for state in states:
        watching.after_controller_state_update(None, state)
    clock.now += after
    if words is None:
        watching.after_controller_state_update(None, states[-1])
    else:
        with pytest.raises(InputError, match=words):
            watching.after_controller_state_update(None, states[-1])


def test_trials_share_what_is_free_on_each_node(cluster_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three quarters of a CPU for each by the sum, which no node has beside its replica."""

    def share(found: list[Node], concurrency: int, **values: Any) -> dict[str, float]:
        monkeypatch.setattr(resources, "free_nodes", lambda: found)
        (bundle,) = searching._resources(made.make_config(**values), concurrency).bundles
        return {name: amount for name, amount in bundle.items() if name != "memory"}

    assert share([node(n, 0.5) for n in (1, 2, 3)], 2) == {"CPU": 0.5}
    assert share([node(1, 1.5)], 2) == {"CPU": 0.75}
    assert share([node(1, 64)], 2) == {"CPU": 1.0}
    assert share([node(1, 0.0)], 2) == {}, "nothing is free: it shares what others hold"
    assert share([node(1, 8, GPU=2)], 3) == {"CPU": 1.0, "GPU": 0.5}, "a third one finds no two thirds of a GPU"
    assert share([node(1, 2, GPU=1), node(2, 8)], 4) == {"CPU": 1.0}, "two would wait for the node with a GPU"
    assert share([node(1, 8, GPU=1)], 2, resources__tune={"gpus": 0.25}) == {"CPU": 1.0, "GPU": 0.25}


def test_a_large_cluster_is_used_whole(cluster_of: Any) -> None:
    cluster_of(*[node(number, 16) for number in range(100)])
    assert resources.held(resources.process(asks(), "plan", 1.0)) == 1600
    scaled, task_cpus = workers.scaling(made.make_config(train__workers=(1, 400), train__threads=4), "stream")
    assert (scaled.num_workers, scaled.resources_per_worker, task_cpus) == ((1, 399), {"CPU": 4.0}, 1.0)


def test_replicas_ask_for_what_the_yaml_says(cluster_of: Any) -> None:
    cluster_of(node(1, 2), node(2, 4, {"market": "demand"}))
    own = asks(deploy=ShareConfig(cpus=2, labels={"market": "demand"}))
    deploy = made.make_config().deploy
    found = serve._options(deploy.model_copy(update={"replicas": 2}), own)["ray_actor_options"]
    assert found == {"num_cpus": 2, "num_gpus": 0.0, "label_selector": {"market": "demand"}}
    with pytest.raises(InputError, match=r"could hold 2 of 3\..*deploy\.replicas"):
        serve._options(deploy.model_copy(update={"replicas": 3}), own)


def test_a_trained_policy_is_served_with_other_resources() -> None:
    assert serve._values(["resources.deploy.cpus=2", "resources.wait_seconds=5"]) == {
        "resources.deploy.cpus": 2,
        "resources.wait_seconds": 5,
    }
