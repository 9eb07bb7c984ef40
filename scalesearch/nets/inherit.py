"""Weights of one network made into the weights of another: other widths, depths, kernels, squeeze-excitation.

Each set of channels of the target is mapped to channels of the source: all of them where it is as wide or wider, the
most important ones where it is narrower. Tensors are gathered by the maps of what they read and write.

- Wider: outputs that the source had get zero weights on new inputs, so they do not see what the new channels carry;
  new outputs keep their fresh weights, so nothing is symmetric and gradients reach everything.
- Deeper: a new block repeats the stage's last one, and the scale and shift of its last batch norm are zero: the
  block's sum is its input.
- A shortcut that the source has as its plain input and the target as a projection starts as that input.
- A larger kernel has the source's in its middle, zeros around it. Squeeze-excitation that the source lacks starts as a
  constant gate, which the next convolution undoes; one that the target lacks is replaced by its gate at zero input.

After Net2Net (Chen, Goodfellow & Shlens 2016, arXiv:1511.05641), with zeros in place of split copies; residual branches
that start at zero (Goyal et al. 2017, arXiv:1706.02677, section 5.1); channels by batch-norm scale (Liu et al. 2017,
"Network Slimming", arXiv:1708.06519).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from scalesearch.design.spec import RESNET_BLOCKS, NetSpec, Shortcut
from scalesearch.nets.layers import Channels, Layer, blocks, layers, match_blocks, match_stages
from scalesearch.nets.modules import GATES, MBConvNet, build, empty_state, squeeze_activations
from scalesearch.nets.transfer_plan import Route, TensorPlan, TransferPlan, how

Selection = Literal["batch_norm", "weight_norm", "leading"]
NORM_PARTS = ("weight", "bias", "running_mean", "running_var")
IDEMPOTENT = ("relu", "relu6")  # applied twice they are as applied once, so an added ResNet block can be an identity
GATE_BIAS = 2.0  # a gate of 0.88: open, and with a slope that still learns


@dataclass(frozen=True)
class Pairing:
    """A target layer and the source layer that it inherits from; ``new`` marks blocks that start as identities."""

    target: Layer
    source: Layer | None
    new: bool = False


@dataclass(frozen=True, eq=False)
class ChannelMap:
    """Source channels by target channel, int64, -1 for a new one."""

    source: Channels
    index: Tensor


State = Mapping[str, Tensor]
Maps = Mapping[Channels, ChannelMap]


@torch.no_grad()
def inherit(
    source: NetSpec,
    state: State,
    spec: NetSpec,
    *,
    seed: int,
    selection: Selection = "leading",
    classifier: bool = True,
) -> tuple[MBConvNet, TransferPlan]:
    """A network of ``spec`` in training mode that starts from a trained one, and what became of every tensor.

    With ``source == spec`` it is a copy, bit for bit. Where ``plan.preserved``, it gives the source's logits in eval
    mode, at the source's resolution.

    Args:
        source: the architecture that ``state`` belongs to.
        state: tensors under canonical names; the classifier may be missing.
        seed: of the fresh weights; a fresh classifier starts near zero.
        selection: which channels and blocks a narrower, shallower target keeps: the leading ones, those with the
            largest batch-norm scale, or with the largest weights. Measured: on weights that were published with batch
            norm folded, leading ones keep most (reports/LOG.md).
        classifier: whether to take the classifier too, where it has as many classes.
    """
    network = build(spec, seed=seed)
    pairings = _pair(source, spec, partial(_importance, state, selection))
    maps = _channel_maps(source, spec, pairings, state, selection)
    whole = classifier and source.classes == spec.classes
    usable = [pairing if _is_usable(pairing, state, whole) else replace(pairing, source=None) for pairing in pairings]
    work = _Inheritance(source, state, spec, network.state_dict(), usable, maps)
    own = work.own
    rows = [row for pairing in usable for row in _fill(work, pairing)]
    _mend_gates(work)
    opened = _open_shortcuts(work)
    for pairing in usable:
        if pairing.new and pairing.target.closes:
            own[f"{pairing.target.norm}.weight"].zero_()
            own[f"{pairing.target.norm}.bias"].zero_()
    used = {row.source for row in rows}
    unused = tuple(name for name in state if name not in used and not name.endswith("num_batches_tracked"))
    routes = tuple(
        _route(work, pairing)
        for pairing in usable
        if pairing.target.norm and pairing.target not in opened  # whose batch norm changes nothing as it is
    )
    return network, TransferPlan(tuple(rows), unused, _losses(source, spec, state), routes)


@dataclass(frozen=True, eq=False)
class _Inheritance:
    """What is at hand while tensors are filled: ``own`` are the target's, written in place."""

    source: NetSpec
    state: State
    spec: NetSpec
    own: dict[str, Tensor]
    pairings: Sequence[Pairing]
    maps: Maps

    def channels(self, target: Channels, source: Channels, count: int, given: int) -> Tensor:
        """Source channels by target channel; by position where the two sets do not belong together."""
        match = self.maps.get(target)
        if match is not None and match.source == source:
            return match.index
        places = torch.arange(count)
        return torch.where(places < given, places, -1)


def _is_usable(pairing: Pairing, state: State, classifier: bool) -> bool:
    """Whether a layer has something to inherit."""
    given = pairing.source is not None and f"{pairing.source.path}.weight" in state
    return given and (classifier or pairing.target.role != "classifier")


def _route(work: _Inheritance, pairing: Pairing) -> Route:
    layer, source, width = pairing.target, pairing.source, len(work.own[f"{pairing.target.path}.weight"])
    if source is None:
        return Route(layer.path, layer.norm, "", torch.full((width,), -1), pairing.new)
    writes = work.channels(layer.writes, source.writes, width, len(work.state[f"{source.path}.weight"]))
    return Route(layer.path, layer.norm, source.path, writes, pairing.new)


def _losses(source: NetSpec, spec: NetSpec, state: State) -> tuple[str, ...]:
    """What makes the target compute something else than the source."""
    if len(source.stages) != len(spec.stages):
        return ("another number of stages",)
    losses = [
        what
        for what in ("activation", "padding", "in_channels")
        if getattr(source, what) != getattr(spec, what) and not (what == "in_channels" and spec.in_channels > 3)
    ]
    if source.batch_norm.eps != spec.batch_norm.eps:
        losses.append("batch-norm eps")
    if spec.stem.width < source.stem.width or spec.head.width < source.head.width:
        losses.append("a narrower stem or head")
    if source.head.hidden > spec.head.hidden or (source.head.hidden == 0 < spec.head.hidden):
        losses.append("another hidden layer")
    if source.head.width == 0 < spec.head.width:
        losses.append("a new head")
    if any(getattr(source.stem, what) != getattr(spec.stem, what) for what in ("kernel", "stride", "max_pool")):
        losses.append("another stem")
    shortcuts = zip(_first_shortcuts(source), _first_shortcuts(spec), strict=True)
    stages = zip(source.stages, spec.stages, shortcuts, strict=True)
    for number, (old, new, (was, now)) in enumerate(stages, start=1):
        activation = new.activation or spec.activation
        settles = activation in IDEMPOTENT or new.block not in RESNET_BLOCKS
        expansion_is_new = new.block not in RESNET_BLOCKS and old.expand_ratio == 1 < new.expand_ratio
        differing = [
            name
            for name, lost in (
                ("width", new.width < old.width),
                ("depth", new.depth < old.depth or (new.depth > old.depth and not settles)),
                (
                    "activation",
                    old.activation != new.activation and (old.activation or source.activation) != activation,
                ),
                ("shortcut", was != now and (was, now) != ("identity", "projection")),
                ("kernel", new.kernel < old.kernel),
                ("stride", new.stride != old.stride),
                ("expand_ratio", new.expand_ratio < old.expand_ratio or expansion_is_new),
                ("kind of squeeze", new.squeeze != old.squeeze and new.se_ratio > 0 < old.se_ratio),
                ("squeeze-excitation", new.se_ratio < old.se_ratio),
                ("block", new.block != old.block),
            )
            if lost
        ]
        losses += [f"{name} of stage {number}" for name in differing]
    if "classifier.1.weight" in state and source.classes != spec.classes:
        losses.append("classes")
    return tuple(losses)


def _first_shortcuts(spec: NetSpec) -> list[Shortcut]:
    """What each stage's first block adds to its branch."""
    return [block.shortcut for block in blocks(spec) if block.index == 0]


def _importance(state: State, selection: Selection, layer: Layer) -> Tensor:
    """Of each channel that a layer writes, float (channels,)."""
    weight = state[f"{layer.path}.weight"].float()
    if selection == "leading":
        return torch.arange(len(weight), 0, -1).float()
    if selection == "batch_norm" and layer.norm:
        return state[f"{layer.norm}.weight"].float().abs()
    return weight.flatten(1).square().sum(1).sqrt()


def _pair(source: NetSpec, spec: NetSpec, importance: Callable[[Layer], Tensor]) -> list[Pairing]:
    """Each layer of the target with its source layer: by stage, block and role."""
    of = {(layer.stage, layer.block, layer.role): layer for layer in layers(source)}
    places: dict[tuple[int, int], tuple[int, int]] = {(0, 0): (0, 0)}
    new: set[tuple[int, int]] = set()
    for number, (match, stage) in enumerate(zip(match_stages(source, spec), spec.stages, strict=True), start=1):
        if match is None:
            continue
        given = source.stages[match].depth
        last = {block: role for (s, block, role), layer in of.items() if s == match + 1 and layer.closes}
        scores = [float(importance(of[match + 1, block, last[block]]).mean()) for block in range(given)]
        for block, twin in enumerate(match_blocks(scores, stage.depth)):
            if block >= given:
                new.add((number, block))
            if block < given or given > 1:  # a stage's only block reads other channels than a second one would
                places[number, block] = (match + 1, twin)
    return [
        Pairing(layer, of.get((*place, layer.role)) if place else None, (layer.stage, layer.block) in new)
        for layer in layers(spec)
        for place in [places.get((layer.stage, layer.block))]
    ]


def _channel_maps(
    source: NetSpec, spec: NetSpec, pairings: Sequence[Pairing], state: State, selection: Selection
) -> Maps:
    """For each set of the target's channels its source channels, chosen by all layers that write them together."""
    written: dict[Channels, list[Layer]] = {}
    for layer in layers(source):
        if f"{layer.path}.weight" in state:
            written.setdefault(layer.writes, []).append(layer)
    sizes = _sizes(spec)
    maps: dict[Channels, ChannelMap] = {}
    for pairing in pairings:
        if pairing.source is None or pairing.target.writes in maps or pairing.source.writes not in written:
            continue
        # channels are judged together, on the scale of each layer's own mean
        scores = [_importance(state, selection, layer) for layer in written[pairing.source.writes]]
        score = torch.stack([one / one.mean().clamp(min=1e-12) for one in scores]).sum(0)
        maps[pairing.target.writes] = ChannelMap(pairing.source.writes, _chosen(score, sizes[pairing.target.writes]))
    image = torch.arange(spec.in_channels)
    maps[Channels("image")] = ChannelMap(Channels("image"), torch.where(image < source.in_channels, image, -1))
    return maps


def _sizes(spec: NetSpec) -> dict[Channels, int]:
    """How many channels each set has."""
    state = empty_state(spec)
    return {layer.writes: len(state[f"{layer.path}.weight"]) for layer in layers(spec)}


def _chosen(score: Tensor, count: int) -> Tensor:
    """``count`` source channels in their own order: all, then -1, or those with the largest score."""
    if count >= len(score):
        return torch.cat([torch.arange(len(score)), torch.full((count - len(score),), -1)])
    return score.argsort(descending=True, stable=True)[:count].sort().values


def _fill(work: _Inheritance, pairing: Pairing) -> list[TensorPlan]:
    """Writes a layer's tensors and those of its batch norm; one row for each."""
    own, state, layer, source = work.own, work.state, pairing.target, pairing.source
    names = [f"{layer.path}.{part}" for part in ("weight", "bias") if f"{layer.path}.{part}" in own]
    norms = [f"{layer.norm}.{part}" for part in NORM_PARTS] if layer.norm else []
    if source is None:
        return [_fresh(name, own[name]) for name in (*names, *norms)]
    old, tensor = state[f"{source.path}.weight"], own[f"{layer.path}.weight"]
    writes = work.channels(layer.writes, source.writes, len(tensor), len(old))
    if layer.role == "stem" and tensor.shape[1] == 1 < old.shape[1]:
        old = old.sum(1, keepdim=True)  # a grey image is one whose three channels are equal
    reads = None
    if layer.kind != "depthwise":
        reads = work.channels(layer.reads, source.reads, tensor.shape[1], old.shape[1])
    rows = [_gathered(names[0], f"{source.path}.weight", tensor, old, writes, reads)]
    for name in (*names[1:], *norms):
        given = f"{source.norm if name in norms else source.path}.{name.rpartition('.')[2]}"
        there = given in state
        rows.append(_gathered(name, given, own[name], state[given], writes) if there else _fresh(name, own[name]))
    return rows


def _fresh(name: str, tensor: Tensor) -> TensorPlan:
    return TensorPlan(name, "fresh", None, (), tuple(tensor.shape), 0)


def _gathered(
    name: str, source: str, tensor: Tensor, old: Tensor, writes: Tensor, reads: Tensor | None = None
) -> TensorPlan:
    """Fills ``tensor`` from ``old``, the source's tensor of the name ``source``."""
    kept = _gather(tensor, old, writes, reads)
    shapes = tuple(old.shape), tuple(tensor.shape)
    return TensorPlan(name, how(old.numel(), tensor.numel(), kept), source, *shapes, kept)


def _gather(tensor: Tensor, old: Tensor, writes: Tensor, reads: Tensor | None) -> int:
    """Writes the old values into ``tensor``, zeros where an old output meets a new input; how many values came over.

    Args:
        writes: source row by row of ``tensor``, -1 for a new one, which keeps its values.
        reads: the same for its second axis; None where that is not one of channels.
    """
    rows = torch.nonzero(writes >= 0).flatten()
    values = old[writes[rows]].to(tensor.dtype)
    if tensor.ndim == 4:
        values = _resized(values, tensor.shape[2])
    kept = 1.0
    if reads is not None:
        columns = torch.nonzero(reads >= 0).flatten()
        wide = torch.zeros(len(rows), *tensor.shape[1:])
        wide[:, columns] = values[:, reads[columns]]
        kept = len(columns) / len(reads)
        values = wide
    tensor[rows] = values.to(tensor.device)
    inside = min(tensor.shape[2], old.shape[2]) ** 2 / tensor.shape[2] ** 2 if tensor.ndim == 4 else 1.0
    return round(tensor[rows].numel() * kept * inside)


def _resized(kernels: Tensor, size: int) -> Tensor:
    """(N, C, k, k) → (N, C, size, size): the middle, or zeros around it."""
    margin = (size - kernels.shape[2]) // 2
    return nn.functional.pad(kernels, (margin,) * 4)  # negative margins crop


def _mend_gates(work: _Inheritance) -> None:
    """Squeeze-excitation that only one of the two has: its gate's constant value goes into the projection."""
    own, state, pairings = work.own, work.state, work.pairings
    of_source = {p.target.path: p.source for p in pairings}
    excites = {(p.target.stage, p.target.block): p for p in pairings if p.target.role == "excite"}
    for pairing in pairings:
        layer, source = pairing.target, pairing.source
        if layer.role != "project" or source is None:
            continue
        excite = excites.get((layer.stage, layer.block))
        gate = source.path.rsplit(".", 2)[0] + f".{int(source.path.split('.')[-2]) - 1}"  # where its gate would be
        has_gate = f"{gate}.fc2.weight" in state
        projection = own[f"{layer.path}.weight"]
        if excite is not None and of_source[excite.target.path] is None:
            own[f"{excite.target.path}.weight"].zero_()
            own[f"{excite.target.path}.bias"].fill_(GATE_BIAS)
            projection /= GATES[work.spec.stages[layer.stage - 1].squeeze]()(torch.tensor(GATE_BIAS))
        elif excite is None and has_gate:
            stage = work.source.stages[source.stage - 1]
            activation, opening = squeeze_activations(work.source, stage)
            hidden = activation()(state[f"{gate}.fc1.bias"].float().clone())
            level = opening()(state[f"{gate}.fc2.weight"].float().flatten(1) @ hidden + state[f"{gate}.fc2.bias"])
            reads = work.channels(layer.reads, source.reads, projection.shape[1], len(level))
            projection *= torch.where(reads >= 0, level[reads.clamp(min=0)], 1.0).view(1, -1, 1, 1)


def _open_shortcuts(work: _Inheritance) -> set[Layer]:
    """Projections where the source adds a block's plain input: set to hand on the source's channels; which ones."""
    own, pairings = work.own, work.pairings
    plain = {(block.stage_number, block.index) for block in blocks(work.source) if block.shortcut == "identity"}
    closing = {(p.target.stage, p.target.block): p.source for p in pairings if p.target.closes}
    opened = set()
    for layer in (pairing.target for pairing in pairings if pairing.target.role == "shortcut"):
        closed = closing.get((layer.stage, layer.block))
        if closed is None or (closed.stage, closed.block) not in plain:
            continue
        weight, given = own[f"{layer.path}.weight"], len(work.state[f"{closed.path}.weight"])
        # an identity writes what it reads: both are maps to the same set of the source's channels
        writes, reads = (
            work.channels(channels, closed.writes, weight.shape[axis], given)
            for axis, channels in enumerate((layer.writes, layer.reads))
        )
        old = writes >= 0
        weight[old] = (writes[old, None] == reads).to(weight.dtype)[..., None, None]
        own[f"{layer.norm}.weight"][old] = math.sqrt(1 + work.spec.batch_norm.eps)  # undoes what a variance of 1 does
        opened.add(layer)
    return opened
