"""The section of training, and of the random changes its sequences go through."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, model_validator

from lstm_ray.errors import nearest
from lstm_ray.sections.base import Address, Section

FORECAST_LOSSES, CLASS_LOSSES = ("mae", "mse", "huber"), ("cross_entropy", "focal")
OWN_LOSS = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
"""A loss of the user's: package.module:function."""


class AugmentConfig(Section):
    """Random changes to training sequences as they are read; each is off at 0."""

    jitter: float = Field(default=0.0, ge=0, description="deviation of noise added to inputs, in training deviations")
    scaling: float = Field(default=0.0, ge=0, description="deviation of the factor each sequence is multiplied by")
    magnitude_warp: float = Field(
        default=0.0, ge=0, description="deviation of a smooth curve that multiplies a sequence"
    )
    time_warp: float = Field(default=0.0, ge=0, lt=1, description="deviation of the speed at which a sequence runs")
    window_slice: float = Field(
        default=0.0, ge=0, lt=1, description="largest share cut off before stretching to length"
    )
    masking: float = Field(default=0.0, ge=0, lt=1, description="share of history steps hidden, in runs")
    mixup: float = Field(default=0.0, ge=0, description="alpha of the Beta distribution that mixes pairs of sequences")


class PrivateConfig(Section):
    """Differential privacy of the weights (DP-SGD, Abadi et al. 2016): nobody can tell from them, but as far as epsilon and
    delta say, whether a whole series (a person, a customer) was trained on; to classify, a sequence is a series.

    Every step takes each training series by chance (Poisson sampling, ``train.batch`` of them on average) and of it one
    sequence, whose gradient is shortened; noise is added to their sum. Not covered are statistics that values are scaled by,
    categories, the use of the validation part (early stopping, calibration, scores) and all that lies beside the weights.
    """

    epsilon: float = Field(
        default=8.0,
        gt=0,
        description="most that a series' presence may change the odds of any outcome, as a logarithm, over all epochs; smaller "
        "is more private and noisier: 1 is strong, 8 usual, above 10 little more than a word",
    )
    delta: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="chance that more is lost; none: one over the training series (better well below that)",
    )
    clip_norm: float = Field(
        default=1.0,
        gt=0,
        description="norm that the gradient of one series is shortened to; the noise is in proportion (train.clip_norm then "
        "shortens the noised mean)",
    )


class TrainConfig(Section):
    """How weights are found."""

    loss: str | None = Field(
        default=None,
        description="mae, mse, huber; cross_entropy, focal; or your own package.module:function. none: mae to forecast "
        "(pinball with quantiles, likelihood with a distribution), cross_entropy for classes",
    )
    huber_delta: float = Field(default=1.0, gt=0, description="error, in training deviations, where huber turns linear")
    focal_gamma: float = Field(default=2.0, ge=0, description="how much focal discounts what is already right")
    class_weights: Literal["none", "balanced"] | dict[str, float] = Field(
        default="none", description="weight of each class in the loss; 'balanced': by how rare it is in training"
    )
    optimiser: Literal["adamw", "adam", "sgd"] = Field(default="adamw", description="sgd has Nesterov momentum 0.9")
    schedule: Literal["one_cycle", "cosine", "plateau", "constant"] = Field(
        default="one_cycle", description="learning rate over training; 'plateau' halves it when validation stalls"
    )
    learning_rate: float = Field(default=4e-3, gt=0, description="peak of the schedule")
    weight_decay: float = Field(default=1e-2, ge=0, description="decoupled with adamw, an L2 penalty with adam and sgd")
    clip_norm: float = Field(default=1.0, gt=0, description="largest norm of a gradient step")
    batch: int = Field(default=32, gt=0, description="sequences per optimiser step, over all workers together")
    accumulate: int = Field(default=1, gt=0, description="parts a batch is read in, one after another, to save memory")
    weight_averaging: float | None = Field(
        default=0.99,
        gt=0,
        lt=1,
        description="decay of the moving average of weights that is kept; none: the weights as is",
    )
    origins: int = Field(
        default=24,
        gt=0,
        description="origins that teach in one sequence, a patch apart; 1: a window at a time. task: label: patches told "
        "after the history",
    )
    truncate_steps: int | None = Field(
        default=None,
        gt=0,
        description="steps that gradients flow back through (truncated BPTT); none: the whole sequence",
    )
    max_epochs: int | None = Field(
        default=None,
        gt=0,
        description="passes over the training windows at most; none: 6 to 12, more where these are few",
    )
    patience: int | None = Field(
        default=None,
        gt=0,
        description="epochs without a better validation loss before stopping; none: 8, or a third of many",
    )
    min_improvement: float = Field(
        default=0.0, ge=0, lt=1, description="share by which validation loss must fall to count as better"
    )
    augment: AugmentConfig = AugmentConfig()
    start_from: Address | None = Field(
        default=None,
        description="policy's folder (or run directory) whose weights training starts from, where they fit, and whose units "
        "(scaler, order of classes and categories) are kept; what is solved in closed form is solved anew; none: drawn anew",
    )
    private: PrivateConfig | None = Field(
        default=None,
        description="train with differential privacy, the unit a whole series (lstm-ray[private]; in one process, one network "
        "by gradients alone); scaling, categories and validation are not covered; none: without",
    )
    workers: int | tuple[int, int] = Field(
        default=0,
        description="0: in this process; N: Ray Train with N processes (DDP); [min, max]: as many as there are",
    )
    threads: int = Field(default=1, gt=0, description="CPU threads of each training process")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto",
        description="of LSTM and products in training, weights stay in float32; auto: bfloat16 where GPU or CPU multiply in it "
        "(AVX-512 BF16, AMX), else float32",
    )
    read: Literal["auto", "memory", "stream"] = Field(
        default="auto", description="'memory': segments stay in each worker; 'stream': batches come from Ray Data tasks"
    )

    @model_validator(mode="after")
    def _loss_is_one(self) -> TrainConfig:
        known = (*FORECAST_LOSSES, *CLASS_LOSSES)
        if self.loss is not None and self.loss not in known and not OWN_LOSS.fullmatch(self.loss):
            raise ValueError(
                f"loss '{self.loss}' is neither known nor a package.module:function{nearest(self.loss, known)}"
            )
        if isinstance(self.class_weights, dict) and (wrong := [w for w in self.class_weights.values() if w <= 0]):
            raise ValueError(f"class_weights must be above 0, found {wrong[0]:g}; leave a class out to weigh it 1")
        return self

    @model_validator(mode="after")
    def _parts_of_a_batch_hold_sequences(self) -> TrainConfig:
        if self.accumulate > self.batch:
            raise ValueError(
                f"accumulate {self.accumulate} exceeds batch {self.batch}, so a part would hold no sequence; lower it"
            )
        return self

    @property
    def fewest_and_most_workers(self) -> tuple[int, int]:
        return self.workers if isinstance(self.workers, tuple) else (self.workers, self.workers)

    @model_validator(mode="after")
    def _workers_are_a_count_or_a_range(self) -> TrainConfig:
        low, high = self.fewest_and_most_workers
        if low < 0 or (isinstance(self.workers, tuple) and not 1 <= low <= high):
            raise ValueError(f"workers must be 0 or more, or [min, max] with 1 <= min <= max, found {self.workers}")
        return self
