"""What a search may vary: the fields that trials can be compared by, and the values each may take. Knows no whole config.

Whether a field has any effect beside the others, and whether values contradict them, is ``lstm_ray.space``'s to say.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, get_args

from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from lstm_ray.errors import nearest
from lstm_ray.sections.base import Section
from lstm_ray.sections.model import ModelConfig
from lstm_ray.sections.prepare import WindowConfig
from lstm_ray.sections.train import AugmentConfig, TrainConfig
from lstm_ray.sections.tune import SpaceConfig, TuneConfig

OTHER_LOSS = "changes what the loss measures, so trials could not be compared"
SPEED = "changes the speed alone, and every trial trains in the same way"
NOT_TUNABLE = {
    "model.quantiles": OTHER_LOSS,
    "model.distribution": OTHER_LOSS,
    **{f"train.{field}": OTHER_LOSS for field in ("loss", "huber_delta", "focal_gamma", "class_weights")},
    **{f"train.{field}": SPEED for field in ("workers", "threads", "read", "accumulate", "precision")},
    "train.patience": "is not used by trials, which end when the search says so (tune.scheduler)",
    "window.horizon": "changes what is forecast, so trials could not be compared",
    "window.stride": "says which windows teach; vary train.max_epochs or train.batch instead",
    "window.season": "is used by the seasonal naive and MASE alone, which no trial changes",
    "window.lags": "changes what the data hold, which are prepared once for all trials",
    "seed": "only finds the luckiest run; it is never tuned",
}
"""Fields that no search may vary, and why."""
LIVE = (
    "train.learning_rate",
    "train.weight_decay",
    "train.clip_norm",
    "train.batch",
    "train.origins",
    "train.schedule",
)
"""Fields that may change in the middle of a training, beside ``model.dropout``, ``train.weight_averaging`` and those of
``train.augment``: no weight, buffer or memory of the optimiser hangs on them."""


def _fields(section: type[Section], path: str) -> dict[str, FieldInfo]:
    return {f"{path}.{name}": field for name, field in section.model_fields.items()}


FIELDS: dict[str, FieldInfo] = {
    **_fields(ModelConfig, "model"),
    **_fields(TrainConfig, "train"),
    **_fields(AugmentConfig, "train.augment"),
    **{f"window.{name}": WindowConfig.model_fields[name] for name in ("history", "patch")},
}
del FIELDS["train.augment"]


def require_space(tune: TuneConfig) -> None:
    """Raises ValueError where the space names what cannot be tuned, values that its field does not allow, or what the way
    of searching cannot do."""
    for path, space in tune.space.items():
        if reason := NOT_TUNABLE.get("seed" if path.endswith(".seed") else path):
            raise ValueError(f"tune.space: '{path}' {reason}; take it out of the space")
        if path not in FIELDS:
            names = [name for name in FIELDS if name not in NOT_TUNABLE]
            raise ValueError(f"tune.space: '{path}' is no field that can be tuned{nearest(path, names)}")
        _require_values(path, space)
        if tune.search == "grid" and space.choice is None:
            raise ValueError(
                f"tune.search is grid, but '{path}' of tune.space is a range; list its values as choice: [...], or use "
                "search: random"
            )
        if tune.scheduler == "pbt":
            _require_live(path, space)


def _require_values(path: str, space: SpaceConfig) -> None:
    if space.choice is None and _numbers(path) is None:
        raise ValueError(f"tune.space: '{path}' is no number, so it has no range; list its values as choice: [...]")
    found = []
    for value in space.choice if space.choice is not None else ends(space):
        try:
            if space.choice is None and is_whole(path) and not float(value).is_integer():
                raise ValueError("a range of whole numbers has whole ends")
            found.append(allowed(path, value))
        except ValueError as error:
            reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
            raise ValueError(f"tune.space '{path}': {value!r} is not allowed there: {reason}") from None
    if twice := [value for index, value in enumerate(found) if value in found[:index]]:
        raise ValueError(f"tune.space '{path}': {twice[0]!r} is listed twice; leave one out")


def _require_live(path: str, space: SpaceConfig) -> None:
    """Raises ValueError where a trial cannot take over another's weights with this field changed."""
    if path == "train.weight_averaging" and None in (space.choice or []):
        raise ValueError("tune.space 'train.weight_averaging': none keeps no average that scheduler pbt could hand on")
    others = ("model.dropout", "train.weight_averaging")
    if path not in (*LIVE, *others) and not path.startswith("train.augment."):
        raise ValueError(
            f"tune.scheduler is pbt, which goes on from another trial's weights and optimiser, but '{path}' of tune.space "
            f"changes what these mean; take it out, or use scheduler: asha. It may vary {', '.join((*LIVE, *others))} and "
            "train.augment.*"
        )


def ends(space: SpaceConfig) -> tuple[float, float]:
    """The lowest and the highest value of a range."""
    found = space.uniform or space.loguniform
    assert found is not None, "a space that lists no values is a range"
    return found


def allowed(path: str, value: Any) -> Any:
    """The value as its field holds it. Raises ValidationError where it is none of the field's."""
    return _adapter(path).validate_python(value)


@cache
def _adapter(path: str) -> TypeAdapter:
    field = FIELDS[path]
    # Without the validators of its section, which look at other fields too: those are for whole configs to meet.
    annotated: Any = Annotated[field.annotation, *field.metadata, field.description]
    return TypeAdapter(annotated)


def is_whole(path: str) -> bool:
    """Whether a field holds whole numbers."""
    return _numbers(path) is int


def _numbers(path: str) -> type | None:
    """float or int, where a field holds numbers."""
    annotation = FIELDS[path].annotation
    kinds = {annotation, *get_args(annotation)}
    return float if float in kinds else int if int in kinds else None
