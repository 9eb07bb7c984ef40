"""Whose network a state dict is: the shape is read from the tensors, what they do not say from a known network."""

import itertools
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from scalesearch.design.scaling import published_spec
from scalesearch.design.space import load_space, space_names
from scalesearch.design.spec import RESNET_BLOCKS, NetSpec, Stage, expanded_width, squeeze_width
from scalesearch.errors import UserError
from scalesearch.nets.checkpoints import unwrapped
from scalesearch.nets.layers import layers, match_stages
from scalesearch.nets.modules import empty_state
from scalesearch.nets.names import NAMINGS, rename, timm_stages

STEM, OPTIONAL = "features.0.0", "classifier.1"
COUNTER = "num_batches_tracked"  # that only batch norm without momentum reads; old state dicts lack it
OTHER_FAMILY = 1000.0  # networks without a kind of block in common
UNMATCHED = 2.0  # a stage that has no counterpart
MOST_BLOCKS = 256  # of a stage
USUAL_SQUEEZE = 0.25
SHOWN = 3
SQUEEZE = re.compile(r"\.(?:se|fc1|_se_reduce)\.")
SPATIAL = ("depthwise", "fused", "spatial")  # whose kernel is a stage's
INNER = ("expand", "fused", "reduce", "spatial")  # whose rows are the channels inside a block
# Where a naming counts blocks by stage: how their names begin, and the number of the first stage.
BY_STAGE = {
    "efficientnet": (r"features\.(\d+)\.(\d+)\.", 1), "efficientnet_lite": (r"features\.(\d+)\.(\d+)\.", 1),
    "timm": (r"blocks\.(\d+)\.(\d+)\.", 0), "resnet": (r"layer(\d+)\.(\d+)\.", 1),
    "mnasnet": (r"layers\.(\d+)\.(\d+)\.", 7),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Identified:
    """A state dict that is understood.

    Args:
        spec: the network; ``known``: the one that it is, or that it was read as another shape of.
        state: the tensors under canonical names.
        naming: whose names they had.
    """

    spec: NetSpec
    known: NetSpec
    state: dict[str, Tensor]
    naming: str

    @property
    def same(self) -> bool:
        """Whether the tensors have just the known network's shape, whatever their classes."""
        return self.spec == replace(self.known, classes=self.spec.classes, in_channels=self.spec.in_channels)


def known_specs() -> Iterator[NetSpec]:
    """The shipped baselines and their released members."""
    for name in space_names():
        space = load_space(name)
        yield space.baseline
        for member in space.published:
            yield published_spec(space, member.name)


def identify(state: Mapping[str, Tensor], where: str, expected: Iterable[NetSpec] = ()) -> Identified:
    """The architecture of a state dict, named as torchvision, timm or efficientnet_pytorch name their tensors.

    Depths, widths, kernels, expansion and squeeze are the tensors'. Strides, activations, padding, the batch norms' eps
    and the resolution are not in them: they are those of the known network that has just this shape, or else of the one
    whose shape is nearest. A missing classifier counts as the known one's.

    Args:
        expected: networks that it may well be, tried before the shipped baselines and released members.

    Raises:
        UserError: no known network has such tensors; the message says what does not fit the nearest.
    """
    known = (*expected, *known_specs())
    variants = list(unwrapped(state))
    for given in variants:
        found: list[Identified] = []
        for network, naming in itertools.product(known, NAMINGS):
            one = _read_as(network, naming, given)
            if one is not None and one.same:
                return one
            found += [one] if one is not None else []
        if found:
            return min(found, key=lambda one: distance(one.spec, one.known))
    raise UserError(where, max(map(_reason, variants))[1])


def _read_as(known: NetSpec, naming: str, state: Mapping[str, Tensor]) -> Identified | None:
    """The state dict as another shape of a known network; None where its tensors are not that network's."""
    try:
        canonical = _renamed(known, naming, state)
    except UserError:  # blocks that this naming has no words for
        return None
    if canonical is None:
        return None
    spec, renamed = canonical
    measured = _measured(spec, renamed)
    if measured is None or misfits(empty_state(measured), renamed, optional=OPTIONAL):
        return None
    return Identified(measured, known, renamed, naming)


def _renamed(known: NetSpec, naming: str, state: Mapping[str, Tensor]) -> tuple[NetSpec, dict[str, Tensor]] | None:
    """``known`` with as many blocks in each stage, and squeeze-excitation in those, as the names say, and the tensors
    under its canonical names; None where stages or layers are others.

    Raises UserError where the naming has no words for the known network.
    """
    if f"{NAMINGS[naming](known).get(STEM, STEM)}.weight" not in state:
        return None
    spec = _staged(known, naming, state) if naming in BY_STAGE else known
    if spec is None:
        return None
    names = NAMINGS[naming](spec)
    own = {path: names.get(path, path) for layer in layers(spec) for path in (layer.path, layer.norm) if path}
    modules = {name.rpartition(".")[0] for name in state}
    if any(foreign not in modules for path, foreign in own.items() if not path.startswith("classifier")):
        return None
    plain = {name: tensor for name, tensor in state.items() if tensor.ndim or name.endswith(COUNTER)}
    renamed = dict(rename(plain, {foreign: path for path, foreign in own.items()}))
    hidden = renamed.get("hidden.0.weight")
    if hidden is not None and hidden.ndim == 4:  # timm's 1×1 convolution on the pooled image
        renamed["hidden.0.weight"] = hidden.flatten(1)
        renamed.setdefault("hidden.0.bias", hidden.new_zeros(len(hidden)))
    return spec, renamed


def _staged(known: NetSpec, naming: str, state: Mapping[str, Tensor]) -> NetSpec | None:
    """``known`` with the depths that the names count, and squeeze-excitation where they have it; None for another
    number of stages."""
    pattern, first = re.compile(BY_STAGE[naming][0]), BY_STAGE[naming][1]
    counted = {0: 1} if naming == "mnasnet" else {}  # its first block is not counted
    squeezed: set[tuple[int, int]] = set()
    for name in state:
        if match := pattern.match(name):
            group, index = int(match[1]) - first, int(match[2])
            counted[group] = max(counted.get(group, 0), index + 1)
            if SQUEEZE.search(name, match.end() - 1):
                squeezed.add((group, index))
    starts = timm_stages(known) if naming == "timm" else [(number, 0) for number in range(len(known.stages))]
    groups = starts[-1][0] + 1
    if set(counted) - {-1, groups} != set(range(groups)):  # before and after them stem and head
        return None
    stages = []
    for stage, start, following in zip(known.stages, starts, [*starts[1:], (groups, 0)], strict=True):
        last = following[0] > start[0]  # of its group: it has the rest of the blocks
        depth = counted[start[0]] - start[1] if last else stage.depth
        if not 1 <= depth <= MOST_BLOCKS:
            return None
        share = (stage.se_ratio or USUAL_SQUEEZE) if start in squeezed else 0
        stages.append(replace(stage, depth=depth, se_ratio=share))
    return replace(known, stages=tuple(stages))


def _measured(spec: NetSpec, state: Mapping[str, Tensor]) -> NetSpec | None:
    """``spec`` with the widths, kernels, expansions and squeezes of the tensors; None where tensors are no layers'."""
    rows: dict[tuple[int, int, str], tuple[int, ...]] = {}
    for layer in layers(spec):
        weight = state.get(f"{layer.path}.weight")
        if weight is None and layer.role == "classifier":
            continue
        if weight is None or weight.ndim != (2 if layer.kind == "linear" else 4) or 0 in weight.shape:
            return None
        rows[layer.stage, layer.block, layer.role] = tuple(weight.shape)
    stem, stages = rows[0, 0, "stem"], []
    width_in = stem[0]
    for number, stage in enumerate(spec.stages, start=1):
        found = [{role: rows[key] for key in rows if key[:2] == (number, index) for role in key[2:]}
                 for index in range(stage.depth)]  # fmt: skip
        stages.append(_measured_stage(stage, found, width_in))
        width_in = stages[-1].width
    classes = rows.get((0, 0, "classifier"), (spec.classes,))[0]
    head, hidden = rows.get((0, 0, "head"), (0,))[0], rows.get((0, 0, "hidden"), (0,))[0]
    return replace(
        spec, stem=replace(spec.stem, width=stem[0], kernel=stem[-1]), stages=tuple(stages),
        head=replace(spec.head, width=head, hidden=hidden), in_channels=stem[1], classes=classes,
    )  # fmt: skip


def _measured_stage(stage: Stage, found: Sequence[Mapping[str, tuple[int, ...]]], width_in: int) -> Stage:
    """A stage of the shapes that its blocks' weights have, by role. Where the known share gives them it stays."""
    first = found[0]
    closing = next(first[role] for role in ("project", "combine", "fused") if role in first)
    stage = replace(stage, width=closing[0], kernel=next(first[role] for role in SPATIAL if role in first)[-1])
    inputs = [width_in, *[stage.width] * (len(found) - 1)]
    outer = [stage.width] * len(found) if stage.block in RESNET_BLOCKS else inputs
    if stage.expand_ratio != 1 or stage.block in RESNET_BLOCKS:
        inner = [next((one[role][0] for role in INNER if role in one), 0) for one in found]

        def expand(width: int, share: float) -> int:
            return expanded_width(replace(stage, expand_ratio=share), width)

        stage = replace(stage, expand_ratio=_share(stage.expand_ratio, outer, inner, expand))
    squeezed = [one["squeeze"][0] for one in found if "squeeze" in one]
    if len(squeezed) < len(found):
        return stage

    def squeeze(width: int, share: float) -> int:
        return squeeze_width(replace(stage, se_ratio=share), width)

    return replace(stage, se_ratio=_share(stage.se_ratio, inputs, squeezed, squeeze))


def _share(known: float, widths: Sequence[int], wanted: Sequence[int], rule: Callable[[int, float], int]) -> float:
    """The share by which a rule makes ``wanted`` of ``widths``: the known one, or what the last or first have."""
    for share in (known, *(of / wide for of, wide in ((wanted[-1], widths[-1]), (wanted[0], widths[0])))):
        if all(rule(wide, share) == of for wide, of in zip(widths, wanted, strict=True)):
            return share
    return known  # whose tensors will not fit


def _reason(state: Mapping[str, Tensor]) -> tuple[float, str]:
    """What does not fit: of the known network with most of the tensors, and their share; or that none has any."""
    share, reason = 0.0, ""
    for known, naming in itertools.product(known_specs(), NAMINGS):
        try:
            canonical = _renamed(known, naming, state)
        except UserError:
            continue
        if canonical is not None:
            spec, renamed = canonical
            spec = _measured(spec, renamed) or spec
            own, names = empty_state(spec), NAMINGS[naming](spec)
            problems = misfits(rename(own, names), rename(renamed, names), names.get(OPTIONAL, OPTIONAL))
            if 1 - len(problems) / len(own) > share:
                share, reason = 1 - len(problems) / len(own), f"{known.name}'s, but {listed(problems, SHOWN)}"
    if reason:
        return share, f"it holds tensors of no known network: they are named as {reason}."
    shown = ", ".join(list(state)[:SHOWN])
    return 0.0, (
        f"it holds the tensors of no known network ({shown}, …). Known are EfficientNet, EfficientNet-Lite and V2, "
        "MobileNetV2 and V3, MnasNet and ResNet, of any depth and width, named as torchvision, timm or "
        "efficientnet_pytorch name them, and models of scalesearch."
    )


def misfits(expected: Mapping[str, Tensor], state: Mapping[str, Tensor], optional: str = "-") -> list[str]:
    """One short text for each tensor that is missing, has another shape, or is not expected.

    Args:
        optional: how the names begin that may be missing.
    """
    problems = []
    for name, tensor in expected.items():
        if name not in state:
            if not name.endswith(COUNTER) and not name.startswith(optional):
                problems.append(f"{name} is missing")
        elif state[name].shape != tensor.shape:
            problems.append(f"{name} is {shape(state[name])}, not {shape(tensor)}")
    return problems + [f"{name} has no place" for name in state if name not in expected]


def shape(tensor: Tensor) -> str:
    """``32×3×3×3``; a single number has shape ``1``."""
    return "×".join(map(str, tensor.shape)) or "1"


def listed(items: Sequence[str], most: int = 5) -> str:
    """The first few items, and how many there are in all where some are left out."""
    more = f"; {len(items)} in all" if len(items) > most else ""
    return "; ".join(items[:most]) + more


def distance(source: NetSpec, target: NetSpec) -> float:
    """How much has to be changed: log ratios of widths and depths, kernels, squeeze, activation. 0: nothing."""
    foreign = {stage.block for stage in source.stages}.isdisjoint(stage.block for stage in target.stages)
    apart = OTHER_FAMILY if foreign else 0.0
    total = apart + float(source.activation != target.activation) + float(source.padding != target.padding) / 2
    total += abs(math.log(source.stem.width / target.stem.width)) + abs(
        math.log(source.pooled_width / target.pooled_width)
    )
    matched = match_stages(source, target)
    total += UNMATCHED * abs(len(source.stages) - len(target.stages))
    for number, new in zip(matched, target.stages, strict=True):
        if number is None:
            continue
        old = source.stages[number]
        total += abs(math.log(old.width / new.width)) + abs(math.log(old.depth / new.depth)) / 2
        total += abs(old.kernel - new.kernel) / 4 + float(old.block != new.block) * 4
        total += float((old.activation or source.activation) != (new.activation or target.activation)) / 2
        total += float(old.squeeze != new.squeeze and old.se_ratio > 0 < new.se_ratio) / 2
        total += abs(old.se_ratio - new.se_ratio) + abs(math.log(old.expand_ratio / new.expand_ratio))
    return total
