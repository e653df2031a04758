"""A policy as a Serve config file names it: ``import_path: lstm_ray.on_ray.application:build``. Knows no requests.

``serve deploy`` and KubeRay's RayService start Serve, with its host and port; no process of ours keeps the server. So the first
replica makes the register, which may move to another machine, and no streams are kept.
"""

from __future__ import annotations

from typing import Any

import ray
from pydantic import Field
from ray.serve.context import _get_global_client

from lstm_ray.on_ray.registers import Beginning
from lstm_ray.on_ray.serve import bound, settled
from lstm_ray.sections.base import Section
from lstm_ray.serving.secret import tokens


class Arguments(Section):
    """What stands under ``args`` in the Serve config file."""

    policy: str = Field(
        description="run directory or policy's folder that every machine sees, or its address, such as s3://RUN"
    )
    settings: list[str] = Field(
        default=[], description="fields of deploy, monitor and resources, each as 'deploy.replicas=2'"
    )


def build(args: Arguments) -> Any:
    """The application, for Serve to run.

    Raises InputError where there is no policy, and where Serve can be reached by others and there is no token.
    """
    files, config, monitor = settled(args.policy, args.settings)
    deploy = config.deploy.model_copy(update={"streams": 0})
    if ray.is_initialized() and (client := _get_global_client(raise_if_no_controller_running=False)):
        deploy = deploy.model_copy(update={"host": client.http_config.host})
    return bound(deploy, config.resources, tokens(deploy), Beginning(files, args.policy, monitor))
