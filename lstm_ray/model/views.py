"""The networks that a config asks for: how each sees the data. Knows no torch."""

from __future__ import annotations

from lstm_ray.config import Config, with_values


def views(config: Config) -> list[Config]:
    """The config of each kind of network.

    ``model.normalisation: auto`` is two that err in different ways. One takes out level and scale and leans on a linear
    map of the whole history; the other takes out a level that moves twice as fast and has the LSTM alone.
    """
    if config.task != "forecast" or config.model.normalisation != "auto":
        return [config]
    faster = max(1, config.window.history // 2)
    return [
        with_values(config, {"model.normalisation": "mean_deviation"}),
        with_values(
            config, {"model.normalisation": "mean", "model.normalisation_steps": faster, "model.linear": "none"}
        ),
    ]


def members_each(config: Config) -> int:
    """Networks of each kind. Sequences to classify are often few, and then networks differ by luck: three cost little."""
    return config.model.members or (3 if config.task == "classify" else 1)


def members(config: Config) -> list[Config]:
    """The config of each network, ``members_each`` of each kind."""
    return [view for view in views(config) for _ in range(members_each(config))]
