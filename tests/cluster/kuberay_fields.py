"""The fields of KubeRay's own kinds that cluster/kuberay uses, and what each may hold; any other field is a mistake."""

from __future__ import annotations

from typing import Any

import jsonschema

NAME = r"^[a-z]([-a-z0-9]{0,48}[a-z0-9])?$"
TEMPLATE: dict[str, Any] = {"type": "object"}
"""A pod's: Kubernetes' own schema checks it."""
TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
COUNT = {"type": "integer", "minimum": 0}


def closed(required: str, **fields: Any) -> dict[str, Any]:
    return {"type": "object", "properties": fields, "required": required.split(), "additionalProperties": False}


GROUP = {"rayStartParams": TEXTS, "template": TEMPLATE, "labels": TEXTS}
CLUSTER = closed(
    "rayVersion authOptions headGroupSpec workerGroupSpecs",
    rayVersion={"type": "string", "pattern": r"^\d+\.\d+\.\d+$"},
    authOptions=closed("mode secretName", mode={"const": "token"}, secretName={"type": "string"}),
    enableInTreeAutoscaling={"type": "boolean"},
    autoscalerOptions=closed(
        "version securityContext",
        version={"const": "v2"},
        idleTimeoutSeconds=COUNT,
        securityContext={"type": "object"},
        volumeMounts={"type": "array"},
    ),
    headGroupSpec=closed("rayStartParams template", **GROUP),
    workerGroupSpecs={
        "type": "array",
        "minItems": 1,
        "items": closed(
            "groupName minReplicas maxReplicas rayStartParams template",
            groupName={"type": "string", "pattern": NAME},
            replicas=COUNT,
            minReplicas=COUNT,
            maxReplicas=COUNT,
            **GROUP,
        ),
    },
)
KINDS = {
    "RayCluster": CLUSTER,
    "RayJob": closed(
        "entrypoint rayClusterSpec shutdownAfterJobFinishes",
        entrypoint={"type": "string"},
        metadata=TEXTS,
        submissionMode={"enum": ["K8sJobMode", "HTTPMode", "SidecarMode"]},
        backoffLimit=COUNT,
        activeDeadlineSeconds={"type": "integer", "minimum": 1},
        shutdownAfterJobFinishes={"const": True},
        ttlSecondsAfterFinished=COUNT,
        rayClusterSpec=CLUSTER,
        submitterPodTemplate=TEMPLATE,
    ),
    "RayService": closed(
        "serveConfigV2 rayClusterConfig",
        upgradeStrategy=closed("type", type={"enum": ["NewCluster", "None"]}),
        excludeHeadPodFromServeSvc={"type": "boolean"},
        serveConfigV2={"type": "string"},
        rayClusterConfig=CLUSTER,
    ),
}


def check(spec: dict[str, Any], kind: str) -> None:
    """Raises jsonschema.ValidationError where KubeRay would not take the specification."""
    jsonschema.validate(spec, KINDS[kind])
    cluster = spec.get("rayClusterSpec") or spec.get("rayClusterConfig") or spec
    names = [group["groupName"] for group in cluster["workerGroupSpecs"]]
    assert len(names) == len(set(names))
    for group in cluster["workerGroupSpecs"]:
        assert group["minReplicas"] <= group.get("replicas", group["minReplicas"]) <= group["maxReplicas"]
        # Labels have a field of their own, and KubeRay refuses them here.
        assert "labels" not in group["rayStartParams"]
