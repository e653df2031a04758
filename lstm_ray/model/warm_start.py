"""Starting a network from another's weights, what is new in it silent at first. Knows nothing of where they come from."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from lstm_ray.model.network import Classifier, Ensemble, Forecaster, KernelRidge, Labeller, Network, single
from lstm_ray.model.training import load_matching

FIRST = "body.layers.0.weight_ih_l0"
REVERSE = FIRST + "_reverse"
SOLVED = "ridge_AK"
"""Only networks that are a closed form have it."""
LAYER = re.compile(r"body\.layers\.(\d+)\.(weight_ih|weight_hh|bias_ih|bias_hh)_l0")
MAPS = {"highway.ridge_AH": 0, "highway.plain_AH": 0, "highway.correction.weight": 1}
"""Maps of a whole history, and the axis along which its steps lie, the newest last."""
READERS = ("head.weight", "respond.weight", "query.weight")
"""What reads the states, beside deeper layers."""


def warm_start(network: Network, weights: Mapping[str, Tensor]) -> float:
    """``warm_start_one`` for every member of an ensemble, each from its own counterpart of its kind while there are any,
    then from the kind's first again; returns the mean share. As many members, all of them warm, are heard as before."""
    givers, takers = _members(weights), single(network)
    shares = [_solved_before(one, givers) for one in takers if isinstance(one, KernelRidge)]
    givers = [given for given in givers if SOLVED not in given]
    takers = [one for one in takers if not isinstance(one, KernelRidge)]
    kinds = network.kinds - len(shares) if isinstance(network, Ensemble) else 1
    if not givers or len(givers) % kinds:
        kinds = 1
    given, taking = len(givers) // kinds, len(takers) // kinds
    for index, one in enumerate(takers if givers else []):
        kind, place = divmod(index, taking)
        shares.append(warm_start_one(one, givers[kind * given + place % given]))
    if isinstance(network, Ensemble) and all(shares):
        heard_E = weights.get("weight_E", network.weight_E)
        if heard_E.shape == network.weight_E.shape:
            network.weight_E.copy_(heard_E)
    return sum(shares) / len(single(network))


def _solved_before(network: KernelRidge, givers: list[dict[str, Tensor]]) -> float:
    """Take over a ridge on the same features, thresholds and all; 1 where there is one, else 0."""
    shapes = {name: value.shape for name, value in network.state_dict().items()}
    for given in givers:
        if shapes == {name: value.shape for name, value in given.items()}:
            network.load_state_dict(given)
            return 1.0
    return 0.0


def warm_start_one(network: nn.Module, weights: Mapping[str, Tensor]) -> float:
    """Copy the weights that fit and silence new parts that add to what was there: the function stays (Net2Net, Chen et al.
    2016).

    A new residual layer, or attention, changes nothing before its first step of training. Of a wider LSTM, the units
    there were keep their weights and read no new unit, nor does what follows; the new ones start at random and are heard
    as soon as a gradient asks for them. Layers without a residual path replace their input and cannot be silenced, nor
    can a layer norm that was not there; they start fresh.

    Another history leaves the LSTM as it is, and its map of the whole history is zero for the steps further back. Within a
    sequence, all origins that a longer history can answer are then answered as before, where the level is measured over as
    many steps (model.normalisation last or none, or normalisation_steps given) and a target was observed no longer ago than
    the history was. A window alone begins earlier now, and its LSTM has read more by the origin: a warm start, and no more.
    So is a shorter history, for which the oldest steps are forgotten. What is solved in closed form is solved anew by
    whoever trains.

    Returns:
        Share of the network's parameters that were copied. 0, and nothing is copied, where the first layer reads other
        inputs (another patch is one of them), is narrower, or is wider and normalised or attended to: both mix all units,
        and new ones would be heard.
    """
    assert isinstance(network, Forecaster | Classifier | Labeller)
    own = network.state_dict()
    if FIRST not in weights or weights[FIRST].shape[1] != own[FIRST].shape[1]:
        return 0.0
    weights, added = _of_another_history(own, weights)
    before, after = (one[FIRST].shape[0] // 4 for one in (weights, own))
    total, copied = sum(value.numel() for value in own.values()), None
    body = network.body
    if before != after:
        mixed = body.norms is not None or any(name.startswith(("body.norms", "body.attention")) for name in weights)
        if before > after or mixed or (REVERSE in weights) != (REVERSE in own):
            return 0.0
        weights, copied = _widened(own, weights, before, after)
    for index, layer in enumerate(body.layers):
        if body.residual and f"body.layers.{index}.weight_ih_l0" not in weights:
            _silence(layer, None if body.norms is None else body.norms[index])
    if body.attention is not None and "body.attention.out_proj.weight" not in weights:
        nn.init.zeros_(body.attention.out_proj.weight)
        nn.init.zeros_(body.attention.out_proj.bias)
    share = load_matching(network, weights)
    return (share if copied is None else copied / total) - added / total


def _members(weights: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
    """The weights of each member of an ensemble, by number: a file orders names as text, 10 before 2. All as one where
    there are no members."""
    found: dict[str, dict[str, Tensor]] = {}
    for name, value in weights.items():
        match = re.match(r"members\.(\d+)\.", name)
        member, own = (match[1], name[match.end() :]) if match else ("", name)
        found.setdefault(member, {})[own] = value
    shared = found.pop("", {})
    return [found[member] for member in sorted(found, key=int)] or [shared]


def _of_another_history(own: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], int]:
    """The weights, their maps as long as the network's history, and how many numbers of these are zeros of steps that were
    not read before."""
    fitted, added = dict(weights), 0
    for name, axis in MAPS.items():
        if name not in own or name not in weights or own[name].shape == weights[name].shape:
            continue
        given, wanted = (one[name].movedim(axis, 0) for one in (weights, own))
        if given.shape[1] != wanted.shape[1]:
            continue
        constant = 1 - axis
        steps = min(len(given), len(wanted)) - constant
        map_AH = torch.zeros_like(wanted)
        map_AH[:constant], map_AH[-steps:] = given[:constant], given[-steps:]
        fitted[name] = map_AH.movedim(0, axis)
        added += max(0, len(wanted) - len(given)) * given.shape[1]
    return fitted, added


def _widened(
    own: Mapping[str, Tensor], weights: Mapping[str, Tensor], before: int, after: int
) -> tuple[dict[str, Tensor], int]:
    """Weights for ``after`` units from those for ``before``, and how many numbers were copied.

    New units lie behind the old ones of their gate or direction. Rows of old units are theirs, zero where new units would
    be read; rows of new units are the network's own.
    """
    directions = 2 if REVERSE in own else 1
    grown, copied = {}, 0
    for name, value in weights.items():
        if name not in own:
            continue
        wanted, layer = own[name], LAYER.match(name)
        if name.startswith("highway."):
            grown[name] = value
            copied += value.numel()
            continue
        rows, columns = torch.arange(wanted.shape[0]), torch.arange(wanted.shape[-1])
        if layer:
            rows = _places(4, before, after)
        if layer and layer[2] == "weight_hh":
            columns = _places(1, before, after)
        elif (layer and layer[2] == "weight_ih" and layer[1] != "0") or name in READERS:
            columns = _places(directions, before, after)
        shape = (len(rows), len(columns)) if value.ndim == 2 else (len(rows),)
        if value.shape != shape:
            continue
        grown[name] = wanted.clone()
        grown[name][rows] = 0.0
        grown[name][(rows[:, None], columns) if value.ndim == 2 else rows] = value.to(wanted)
        copied += value.numel()
    return grown, copied


def _places(blocks: int, before: int, after: int) -> Tensor:
    """Where the units of each of some blocks (gates, directions) lie once every block has grown."""
    return torch.cat([block * after + torch.arange(before) for block in range(blocks)])


def _silence(layer: nn.Module, norm: nn.Module | None) -> None:
    """Zero what writes into an LSTM layer's cell, so that its output is zero and stays so until a gradient moves it.

    The four gates lie below one another as input, forget, cell, output. With a cell gate of tanh(0) the cell stays 0.
    Its recurrent weights only ever see that zero state, so they may keep their values. A norm would blow the first small
    outputs up to its size, so there the norm's own weights are what is zero.
    """
    with torch.no_grad():
        if norm is not None:
            for weight in norm.parameters():
                weight.zero_()
            return
        for name, weight in layer.named_parameters():
            if not name.startswith("weight_hh"):
                weight.chunk(4)[2].zero_()
