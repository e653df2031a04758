"""Every way of making a cluster in cluster/ fits Ray, Kubernetes and this repository: schemas, versions, names, commands."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml
from click.testing import CliRunner
from kubernetes_validate import validate
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.scripts.scripts import cli as ray_cli
from ray.serve.schema import ServeDeploySchema

import lstm_ray
from lstm_ray.config_file import load
from lstm_ray.on_ray import application
from lstm_ray.on_ray.serve import ENVIRONMENT
from tests.cluster import kuberay_fields

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "cluster"
DOCKERFILE = (CLUSTER / "Dockerfile").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CLOUDS = ("aws", "gcp")
MANIFESTS = sorted((CLUSTER / "kuberay").glob("*.yaml"))
KUBERNETES = "1.37.0"
OPERATOR = {"ray.io/is-ray-node": "yes"}
"""Labels that KubeRay gives a pod of Ray beside ray.io/node-type."""


def documents(*kinds: str) -> Iterator[dict[str, Any]]:
    for file in MANIFESTS:
        yield from (one for one in yaml.safe_load_all(file.read_text()) if not kinds or one["kind"] in kinds)


def clusters() -> dict[str, dict[str, Any]]:
    """The specification of a RayCluster in each kind that makes one."""
    inside = {"RayCluster": (), "RayJob": ("rayClusterSpec",), "RayService": ("rayClusterConfig",)}
    found = {}
    for one in documents(*inside):
        spec = one["spec"]
        for name in inside[one["kind"]]:
            spec = spec[name]
        found[one["kind"]] = spec
    assert found.keys() == inside.keys()
    return found


def pods() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every pod template, with the labels that the operator adds."""
    for kind, spec in clusters().items():
        groups = {"head": spec["headGroupSpec"], **{one["groupName"]: one for one in spec["workerGroupSpecs"]}}
        for name, group in groups.items():
            labels = {**OPERATOR, "ray.io/node-type": "head" if name == "head" else "worker", **group.get("labels", {})}
            template = group["template"]
            yield f"{kind} {name}", {**template, "metadata": {"labels": {**template["metadata"]["labels"], **labels}}}
    [job] = documents("RayJob")
    yield "RayJob submitter", job["spec"]["submitterPodTemplate"]


def containers(spec: dict[str, Any]) -> list[dict[str, Any]]:
    return [*spec.get("initContainers", []), *spec["containers"]]


def up(name: str) -> dict[str, Any]:
    return prepare_config(yaml.safe_load((CLUSTER / f"{name}.yaml").read_text()))


def commands(config: dict[str, Any]) -> list[str]:
    lists = [value for key, value in config.items() if key.endswith("_commands")]
    return list(dict.fromkeys(command for one in lists for command in one))


# ray up


@pytest.mark.parametrize("name", CLOUDS)
def test_ray_up_takes_the_file(name: str) -> None:
    config = up(name)
    validate_config(config)
    types = config["available_node_types"]
    assert types[config["head_node_type"]]["resources"] == {"CPU": 0}
    assert types["gpu"]["resources"]["GPU"] == 1
    assert types["spot"]["labels"] == {"market": "spot"}
    assert all(one["labels"] == {"market": "on-demand"} for kind, one in types.items() if kind != "spot")
    for kind in ("cpu", "gpu", "spot"):
        assert 0 <= types[kind]["min_workers"] < types[kind]["max_workers"] <= config["max_workers"]


@pytest.mark.parametrize("name", CLOUDS)
def test_no_node_of_ray_up_can_be_reached_from_outside_or_goes_without_a_token(name: str) -> None:
    config = up(name)
    assert config["provider"]["use_internal_ips"] is True
    assert config["auth"]["ssh_proxy_command"]
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    starts = [command for command in commands(config) if "ray start" in command]
    assert len(starts) == 2
    assert all("RAY_AUTH_MODE=token ray start" in command for command in starts)
    assert "--dashboard-host=127.0.0.1" in starts[0]


@pytest.mark.parametrize("name", CLOUDS)
def test_commands_of_ray_up_use_what_there_is(name: str) -> None:
    config = up(name)
    help_text = CliRunner().invoke(ray_cli, ["start", "--help"]).output
    for command in commands(config):
        assert subprocess.run(["bash", "-n", "-c", command], capture_output=True, check=False).returncode == 0, command
        for option in re.findall(r"--[\w-]+", command.partition("ray start")[2]):
            assert f"{option} " in help_text or f"{option}\n" in help_text, option
    for here in config["file_mounts"].values():
        assert here.startswith("~/.ray/") or (ROOT / here).exists(), here
    check_versions("\n".join(commands(config)))


def check_versions(text: str) -> None:
    """Ray, torch and the extras that a command installs are those of pyproject.toml."""
    [serve_ray] = [one for one in PROJECT["optional-dependencies"]["serve"] if one.startswith("ray[")]
    pinned = set(re.findall(r"ray==([\d.]+)", text))
    assert pinned == {ray.__version__}
    assert serve_ray.partition("]")[2] == ">=2.60,<2.61"
    assert ray.__version__.startswith("2.60.")
    assert set(re.findall(r"torch==[\d.*]+", text)) == {one for one in PROJECT["dependencies"] if "torch" in one}
    extras = {name for names in re.findall(r"'\.\[([\w,]+)\]'", text) for name in names.split(",")}
    assert extras
    assert extras <= PROJECT["optional-dependencies"].keys()


def test_labels_of_the_spot_nodes_are_what_a_stage_may_ask_for() -> None:
    config = load(ROOT / "configs/quickstart.yaml", ["resources.tune.labels={market: spot}"])
    assert config.resources.tune.labels == {"market": "spot"}


# Dockerfile


def test_the_image_holds_what_pyproject_says() -> None:
    check_versions(DOCKERFILE)
    assert f'version="{lstm_ray.__version__}"' in DOCKERFILE
    assert "'.[serve]'" in DOCKERFILE.partition("AS serving")[2].partition("FROM")[0]
    for line in re.findall(r"^COPY (?!--from)(.+)", DOCKERFILE, flags=re.MULTILINE):
        for name in line.split()[:-1]:
            assert (ROOT / name).exists()
            assert f"!{name}" in (ROOT / ".dockerignore").read_text().splitlines()
    assert re.findall(r"^USER (\S+)", DOCKERFILE, flags=re.MULTILINE) == ["1000:1000"]


def test_hadolint_accepts_the_dockerfile() -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    answer = subprocess.run([hadolint, CLUSTER / "Dockerfile"], capture_output=True, text=True, timeout=60, check=False)
    assert (answer.returncode, answer.stdout) == (0, "")


# Kubernetes


def test_kubernetes_takes_everything_that_is_its_own() -> None:
    for one in documents():
        if not one["apiVersion"].startswith("ray.io/"):
            validate(one, KUBERNETES, strict=True)
    for name, template in pods():
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "any", **template["metadata"]}}
        validate({**pod, "spec": template["spec"]}, KUBERNETES, strict=True)
        assert name


def test_kuberay_takes_the_rest() -> None:
    for one in documents("RayCluster", "RayJob", "RayService"):
        assert one["apiVersion"] == "ray.io/v1"
        kuberay_fields.check(one["spec"], one["kind"])
    for spec in clusters().values():
        assert spec["rayVersion"] == ray.__version__
        assert spec["authOptions"] == {"mode": "token", "secretName": "lstm-ray-token"}


def test_images_are_those_that_the_dockerfile_builds() -> None:
    built = set(re.findall(r"--tag (registry\S+)", DOCKERFILE))
    assert all(f":{lstm_ray.__version__}-" in image for image in built)
    used = {one["image"] for _, template in pods() for one in containers(template["spec"])}
    assert used == built


def test_every_pod_keeps_to_the_restricted_standard() -> None:
    for name, template in pods():
        spec = template["spec"]
        assert spec["automountServiceAccountToken"] is False, name
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
        volumes = {volume["name"] for volume in spec["volumes"]}
        for one in containers(spec):
            check_container(one)
            assert {mount["name"] for mount in one.get("volumeMounts", [])} <= volumes, name
            assert one["resources"]["requests"].keys() >= {"cpu", "memory"}
            assert one["resources"]["limits"]["memory"]
    for spec in clusters().values():
        if spec.get("enableInTreeAutoscaling"):
            check_container(spec["autoscalerOptions"])


def check_container(one: dict[str, Any]) -> None:
    allowed = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    assert one["securityContext"] == allowed


def test_only_the_autoscaler_sees_a_token_of_the_api_server() -> None:
    for _, template in pods():
        spec = template["spec"]
        given = {volume["name"] for volume in spec["volumes"] if "projected" in volume}
        assert not given & {mount["name"] for one in containers(spec) for mount in one.get("volumeMounts", [])}
    for kind in ("RayCluster", "RayJob"):
        mounts = clusters()[kind]["autoscalerOptions"]["volumeMounts"]
        assert "/var/run/secrets/kubernetes.io/serviceaccount" in {mount["mountPath"] for mount in mounts}


def test_every_policy_and_budget_finds_a_pod_and_every_pod_has_a_policy_of_its_own() -> None:
    labels = {name: template["metadata"]["labels"] for name, template in pods()}
    covered: dict[str, list[str]] = {name: [] for name in labels}
    for one in documents("NetworkPolicy", "PodDisruptionBudget"):
        selector = one["spec"].get("podSelector", one["spec"].get("selector"))
        wanted = selector.get("matchLabels", {})
        found = [name for name, own in labels.items() if wanted.items() <= own.items()]
        assert found, one["metadata"]["name"]
        if one["kind"] == "NetworkPolicy":
            for name in found:
                covered[name].append(one["metadata"]["name"])
    for name, policies in covered.items():
        assert {"nothing", "names-and-storage", labels[name]["app.kubernetes.io/instance"]} <= set(policies), name
    [nothing] = [one for one in documents("NetworkPolicy") if one["metadata"]["name"] == "nothing"]
    assert nothing["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_a_drain_takes_a_replica_and_waits_for_every_head() -> None:
    [group] = clusters()["RayService"]["workerGroupSpecs"]
    sizes = {"RayService replicas": group["replicas"]} | {f"{kind} head": 1 for kind in clusters()}
    kept = {}
    for one in documents("PodDisruptionBudget"):
        # By maxUnavailable or a percentage nothing may go where the owner of a pod has no scale, as a RayCluster.
        assert one["spec"].keys() == {"minAvailable", "selector"}
        wanted = one["spec"]["selector"]["matchLabels"].items()
        [name] = [name for name, pod in pods() if wanted <= pod["metadata"]["labels"].items()]
        kept[name] = one["spec"]["minAvailable"]
    assert kept == {name: max(1, size - 1) for name, size in sizes.items()}


def test_ports_of_the_policies_are_those_of_the_pods() -> None:
    known = {
        port["containerPort"] for _, pod in pods() for one in pod["spec"]["containers"] for port in one.get("ports", [])
    }
    for one in documents("NetworkPolicy"):
        for rule in one["spec"].get("ingress", []):
            assert {port["port"] for port in rule.get("ports", [])} <= known


def test_secrets_and_accounts_are_the_ones_that_are_made() -> None:
    words = (CLUSTER / "kuberay/namespace.yaml").read_text()
    made = set(re.findall(r"create secret generic (\S+)", words))
    assert made == {"lstm-ray-token", "lstm-ray-http"}
    text = "\n".join(file.read_text() for file in MANIFESTS)
    assert set(re.findall(r"secretName: ([\w-]+)", text)) == made
    assert set(re.findall(r"secretRef: \{name: ([\w-]+), optional: true\}", text)) == {"lstm-ray-storage"}
    assert "lstm-ray-storage" in words
    accounts = {one["metadata"]["name"] for one in documents("ServiceAccount")}
    assert {pod["spec"]["serviceAccountName"] for _, pod in pods()} == accounts
    assert {one["metadata"].get("namespace", one["metadata"]["name"]) for one in documents()} == {"lstm-ray"}


def test_the_job_runs_what_the_image_holds() -> None:
    [job] = documents("RayJob")
    python, script, *options = shlex.split(job["spec"]["entrypoint"])
    assert python == "python"
    given = dict(zip(options[::2], options[1::2], strict=True))
    assert re.search(r"^WORKDIR /app$", DOCKERFILE, flags=re.MULTILINE)
    for path in (script, given["--config"]):
        own = Path(path).relative_to("/app")
        assert (ROOT / own).is_file()
        assert f"COPY {own.parts[0]} {own.parts[0]}" in DOCKERFILE
    settings = [value for option, value in zip(options[::2], options[1::2], strict=True) if option == "--set"]
    config = load(ROOT / Path(given["--config"]).relative_to("/app"), settings)
    assert config.resources.wait_seconds == 900
    assert config.train.workers == 2
    assert given["--run-dir"].startswith("s3://")


def test_serve_takes_the_service_and_the_application_its_arguments() -> None:
    [service] = documents("RayService")
    told = ServeDeploySchema.model_validate(yaml.safe_load(service["spec"]["serveConfigV2"]))
    [served] = told.applications
    assert served.import_path == f"{application.__name__}:{application.build.__name__}"
    arguments = application.Arguments.model_validate(served.args)
    spec = service["spec"]["rayClusterConfig"]
    for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        [container] = group["template"]["spec"]["containers"]
        mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
        assert {arguments.policy, "/etc/lstm-ray"} <= mounts
        assert {one["name"]: one["value"] for one in container["env"]} == ENVIRONMENT
        assert {"name": "serve", "containerPort": told.http_options.port} in container["ports"]
    assert f"deploy.replicas={spec['workerGroupSpecs'][0]['replicas']}" in arguments.settings
