"""cluster/aws.yaml goes through Ray's own launcher to machines, on a server that answers as Amazon's does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from moto import mock_aws
from ray.autoscaler._private.aws.config import bootstrap_aws
from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
from ray.autoscaler._private.util import prepare_config

FILE = Path(__file__).parents[2] / "cluster/aws.yaml"


@pytest.fixture
def account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An account with what the file's first lines ask for; its address in place of the file's."""
    monkeypatch.setenv("HOME", str(tmp_path))  # Ray writes a key for SSH there
    (tmp_path / ".ssh").mkdir()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", yaml.safe_load(FILE.read_text())["provider"]["region"])
    with mock_aws():
        machines = boto3.resource("ec2")
        network = machines.create_vpc(CidrBlock="10.9.0.0/16")
        network.create_subnet(CidrBlock="10.9.1.0/24")
        group = machines.create_security_group(GroupName="nodes", Description="nodes", VpcId=network.id)
        for name in ("lstm-ray-head", "lstm-ray-worker"):
            boto3.client("iam").create_instance_profile(InstanceProfileName=name)
        yield machines, group.id


def test_ray_makes_machines_of_every_kind(account: Any) -> None:
    machines, group = account
    config = prepare_config(yaml.safe_load(FILE.read_text().replace("sg-00000000000000000", group)))
    [image, *_] = boto3.client("ec2").describe_images()["Images"]
    for one in config["available_node_types"].values():
        assert one["node_config"]["ImageId"].startswith("resolve:ssm:/aws/service/")
        one["node_config"]["ImageId"] = image["ImageId"]  # the newest by name is only found in a real account
    config = bootstrap_aws(config)
    provider = AWSNodeProvider(config["provider"], config["cluster_name"])
    for name, kind in config["available_node_types"].items():
        provider.create_node(kind["node_config"], {"ray-user-node-type": name}, 1)
    made = {
        tag["Value"]: one for one in machines.instances.all() for tag in one.tags if tag["Key"] == "ray-user-node-type"
    }
    assert made.keys() == config["available_node_types"].keys()
    for name, one in made.items():
        assert one.public_ip_address is None
        assert [given["GroupId"] for given in one.security_groups] == [group]
        assert one.instance_lifecycle == ("spot" if name == "spot" else None)
        role = "lstm-ray-head" if name == "head" else "lstm-ray-worker"
        assert one.iam_instance_profile["Arn"].endswith(f"/{role}")
