"""What a training takes over of the finished policy that it starts from: its units before a table is prepared, its weights
before the first step. Knows policies; trains nothing.

Weights mean nothing in other units, so whoever takes them keeps the scaler too, and the order of classes and categories. What
is solved in closed form is solved anew, on the new data.
"""

from __future__ import annotations

from lstm_ray.config import Config
from lstm_ray.data.schema import Scaler, Schema
from lstm_ray.errors import InputError
from lstm_ray.finding import Finding
from lstm_ray.model.network import build
from lstm_ray.model.policy import Policy
from lstm_ray.model.warm_start import warm_start
from lstm_ray.serving import bundle

UNITS = (
    *("transform", "scale", "scale_by"),
    *("outliers", "outlier_method", "outlier_deviations", "outlier_steps"),
)
"""Fields of the section preprocess that decide what a scaler is fitted to."""
ROLES = ("target", "past", "known", "static", "categorical")


def given(config: Config) -> Policy:
    """The policy that train.start_from names. Raises InputError where there is none there."""
    assert config.train.start_from is not None, "asked for where it is set"
    return bundle.unpack(bundle.find(config.train.start_from))


def version_of(source: str) -> str:
    """The version of the policy that a folder or run holds now."""
    return bundle.unpack(bundle.find(source)).version


def in_its_units(policy: Policy, config: Config, schema: Schema) -> tuple[Schema, Scaler]:
    """The schema with the policy's classes and categories, and its scaler.

    Values of a category that the policy does not know stay unseen; classes that it does not know are learned in place of
    its own.

    Raises InputError where the policy reads other columns, or was fitted to other units than the config asks for.
    """
    before, source = policy.config, config.train.start_from
    if (task := before.task) != config.task:
        raise InputError(f"train.start_from '{source}' is a policy of task '{task}', and this run's is '{config.task}'")
    for role in ROLES:
        own, its = (getattr(one.data, role) for one in (config, before))
        if own != its:
            raise InputError(
                f"train.start_from '{source}' was trained with data.{role} {its}, and this run has {own}: its weights and "
                "units are of those columns, in that order; name the same, or leave start_from out"
            )
    for name in UNITS:
        own, its = (getattr(one.preprocess, name) for one in (config, before))
        if own != its:
            raise InputError(
                f"train.start_from '{source}' was trained with preprocess.{name} {its}, and this run has {own}: its weights "
                f"mean nothing in other units; set preprocess.{name}: {its}, or leave start_from out"
            )
    known = policy.schema
    update: dict[str, object] = {"categories": known.categories}
    if set(schema.classes) <= set(known.classes):
        update["classes"] = known.classes
    return schema.model_copy(update=update), policy.scaler


def begun_from(policy: Policy, config: Config, schema: Schema) -> tuple[float, Finding]:
    """The share of a new network's weights that begin as the policy's, and words for it.

    Raises InputError where none of them fits.
    """
    share, source = warm_start(build(config, schema), policy.network.state_dict()), config.train.start_from
    if not share:
        own, its = (
            f"model.hidden {one.model.hidden}, window.patch {one.window.patch}, model.normalisation "
            f"{one.model.normalisation}, {s.num_known} known inputs"
            for one, s in ((config, schema), (policy.config, policy.schema))
        )
        raise InputError(
            f"no weight of train.start_from '{source}' fits: it has {its}, this run {own}; make them alike (an LSTM may be "
            "wider or deeper than it was), or leave start_from out"
        )
    text = (
        f"{share:.0%} of the weights began as those of policy {policy.version[:12]} ('{source}'), in its units; what is solved "
        "in closed form was solved anew."
    )
    advice = "" if share > 0.5 else "make the model section that policy's, where more of it is to be kept"
    return share, Finding(severity="advice" if advice else "info", text=text, advice=advice)
