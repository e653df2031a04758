"""The networks that a config asks for: how each sees the data. Knows no torch."""

from __future__ import annotations

from lstm_ray.config import Config, with_values


def views(config: Config) -> list[Config]:
    """The config of each kind of network.

    ``model.normalisation: auto`` is two that err in different ways. One takes out level and scale and leans on a linear
    map of the whole history; the other takes out a level that moves twice as fast and has the LSTM alone. To classify,
    ``model.linear`` is a kind of its own, a ridge on what convolutions count.
    """
    if config.task == "classify" and config.model.linear != "none":
        return [with_values(config, {"model.linear": "none"}), config]
    if config.task != "forecast" or config.model.normalisation != "auto":
        return [config]
    faster = max(1, config.window.history // 2)
    return [
        with_values(config, {"model.normalisation": "mean_deviation"}),
        with_values(
            config, {"model.normalisation": "mean", "model.normalisation_steps": faster, "model.linear": "none"}
        ),
    ]


def members(config: Config) -> list[Config]:
    """The config of each network, kind by kind."""
    found = views(config)
    return [found[kind] for kind in kinds(config)]


def kinds(config: Config) -> list[int]:
    """The number of each network's kind: ``members_each`` of those that learn, one where all would be the same."""
    counts = [1 if solved_alone(view) else members_each(view) for view in views(config)]
    return [kind for kind, count in enumerate(counts) for _ in range(count)]


def solved_alone(view: Config) -> bool:
    """Whether this kind of network is a closed form and nothing else."""
    return view.task == "classify" and view.model.linear != "none"


def members_each(config: Config) -> int:
    """Networks of each kind. Sequences to classify (and labelled ones) are often few, and then networks differ by luck:
    three cost little."""
    return config.model.members or (1 if config.task == "forecast" else 3)
