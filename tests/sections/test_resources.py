"""What a stage may ask of a cluster, and what a node's labels answer."""

from __future__ import annotations

from typing import Any

import pytest

from lstm_ray.environment import environment
from lstm_ray.errors import InputError
from lstm_ray.lifecycle import STAGES, run_stages
from lstm_ray.model.policy import Policy
from lstm_ray.run_dir import RunDir
from lstm_ray.sections.resources import ResourcesConfig, ShareConfig, meets, unused_words
from tests import made


@pytest.mark.parametrize(
    ("share", "words"),
    [
        ({"gpus": 1.5}, r"1\.5 GPUs cannot be given to a process; name a whole number"),
        ({"gpus": 0.00001}, "1e-05 GPUs cannot be given"),
        ({"cpus": 0}, "resources.train.cpus: .*found 0"),
        ({"labels": {"mar ket": "spot"}}, "'mar ket' is no name of a label"),
        ({"labels": {"market": "spot|demand"}}, r"'spot\|demand' of market cannot be asked for"),
        ({"labels": {"market": "in()"}}, r"'in\(\)' of market cannot be asked for"),
        ({"labels": {"market": ""}}, "'' of market cannot be asked for"),
        ({"custom": {"CPU": 2}}, "'CPU' is a name that Ray keeps for itself; use cpus"),
        ({"custom": {"memory": 2}}, "use memory_bytes"),
        ({"custom": {"node:10.0.0.1": 1}}, "use labels to choose nodes"),
        ({"custom": {"licence": 0}}, "0 of licence cannot be asked for"),
    ],
)
def test_what_ray_would_refuse_later_is_refused_at_once(share: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        made.make_config(resources__train=share)


@pytest.mark.parametrize("selector", ["spot", "!spot", "in(spot, demand)", "!in(spot,demand)", "v1.2_3"])
@pytest.mark.parametrize("key", ["market", "ray.io/node-group", "example.com/a_b"])
def test_labels_as_ray_reads_them_are_taken(key: str, selector: str) -> None:
    assert ShareConfig(labels={key: selector}, gpus=2, custom={"licence": 0.5}).labels == {key: selector}


@pytest.mark.parametrize(
    ("labels", "wanted", "does"),
    [
        ({"market": "spot"}, {"market": "spot"}, True),
        ({"market": "spot"}, {"market": "!spot"}, False),
        ({}, {"market": "!spot"}, True),
        ({}, {"market": "spot"}, False),
        ({"market": "b"}, {"market": "in(a, b)"}, True),
        ({"market": "b"}, {"market": "!in(a,b)"}, False),
        ({"market": "b", "zone": "x"}, {"market": "b", "zone": "y"}, False),
        ({}, {}, True),
    ],
)
def test_a_node_meets_a_selector_or_not(labels: dict[str, str], wanted: dict[str, str], does: bool) -> None:
    assert meets(labels, wanted) is does


def test_what_is_asked_for_and_never_used_is_told() -> None:
    asks = ResourcesConfig(train=ShareConfig(cpus=2), plan=ShareConfig(cpus=2))
    (words,) = unused_words(asks, {"train": "train.workers: 0", "evaluate": "evaluate.workers: 0"})
    assert words.startswith(
        "resources.train is set, but train.workers: 0 has that stage work in the command's own process"
    )


def test_a_run_tells_what_it_will_not_ask_for(table: Any, tmp_path: Any) -> None:
    config = made.make_config(table, resources__train={"cpus": 2}, train__workers=0)
    report = run_stages(config, RunDir(str(tmp_path / "run")), ["environment"])["environment"]
    assert [one.text[:25] for one in report.findings if one.severity == "warning"] == ["resources.train is set, b"]


def test_what_is_asked_of_a_cluster_is_part_of_no_result() -> None:
    assert [name for name, stage in STAGES.items() if "resources" in "".join(stage.sections)] == ["environment"]
    assert environment.__name__ in STAGES["environment"].function


def test_a_policy_keeps_what_its_yaml_asks_for_and_its_version_does_not_hang_on_it(policy: Policy) -> None:
    one, other = (
        Policy.of(
            Policy(
                made.make_config(resources__deploy={"cpus": cpus}),
                policy.schema,
                policy.scaler,
                policy.network.state_dict(),
            ).files()
        )
        for cpus in (1, 2)
    )
    assert one.version == other.version
    assert [found.config.resources.deploy.cpus for found in (one, other)] == [1, 2]
