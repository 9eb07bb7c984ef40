"""Tensor names of other implementations, computed from the spec.

Canonical names are torchvision's EfficientNet's. A table maps module paths (``features.1.0.block.0.0``);
a tensor's last part (``weight``, ``running_mean``, ``num_batches_tracked``, …) is the same everywhere.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from scalesearch.design.spec import RESNET_BLOCKS, NetSpec, Shortcut, Stage, expanded_width, shortcut_of
from scalesearch.errors import UserError

# "efficientnet_lite": EfficientNet's names with the squeeze-excitation's place in the block left empty
Family = Literal["efficientnet", "efficientnet_lite", "mobilenet_v2", "mobilenet_v3", "mnasnet", "resnet"]

RESNET_CONVOLUTIONS = {"basic": 2, "bottleneck": 3}


@dataclass(frozen=True)
class BlockPlace:
    """Where a block stands: stage from 1, index in it from 0, number over all stages from 1."""

    stage: Stage
    stage_number: int
    index: int
    number: int
    expands: bool
    shortcut: Shortcut

    @property
    def canonical(self) -> str:
        """Path of the branch's layers."""
        return f"features.{self.stage_number}.{self.index}.block"

    @property
    def canonical_shortcut(self) -> str:
        """Path of the shortcut's projection."""
        return f"features.{self.stage_number}.{self.index}.shortcut"


def blocks(spec: NetSpec) -> Iterator[BlockPlace]:
    """All blocks in order."""
    width_in, number = spec.stem.width, 0
    for stage_number, stage in enumerate(spec.stages, start=1):
        for index in range(stage.depth):
            number += 1
            expands = expanded_width(width_in, stage.expand_ratio) != width_in
            shortcut = shortcut_of(stage, width_in, stage.stride if index == 0 else 1)
            yield BlockPlace(stage, stage_number, index, number, expands, shortcut)
            width_in = stage.width


def require_plain(spec: NetSpec, family: str) -> None:
    """Refuses a spec whose blocks the family cannot name: squeeze-excitation or fused blocks."""
    for number, stage in enumerate(spec.stages, start=1):
        if stage.se_ratio or stage.block != "mbconv":
            found = f'"{stage.block}" with se_ratio {stage.se_ratio:g}'
            raise UserError(f"{spec.name}: stage {number}", found, f'"mbconv" with se_ratio 0 for {family} weights')


def efficientnet_names(spec: NetSpec) -> dict[str, str]:
    """No module is named otherwise: EfficientNet B0–B7 and V2 are the canonical naming."""
    return {}


def efficientnet_lite_names(spec: NetSpec) -> dict[str, str]:
    """{canonical: foreign} where blocks without squeeze-excitation leave its index empty (project is ``block.3``)."""
    names = {}
    for block in blocks(spec):
        if block.stage.block == "mbconv" and not block.stage.se_ratio:
            depthwise = int(block.expands)
            for part in (0, 1):
                # without expansion the depthwise stands at 0 and the project at 2
                names[f"{block.canonical}.{depthwise + 1}.{part}"] = f"{block.canonical}.{depthwise + 2}.{part}"
    return names


def mobilenet_v2_names(spec: NetSpec) -> dict[str, str]:
    """{canonical: torchvision's ``mobilenet_v2``}: blocks counted through, the projection not nested.

    Raises UserError for squeeze-excitation or fused blocks.
    """
    require_plain(spec, "mobilenet_v2")
    names, last = {}, 0
    for block in blocks(spec):
        last, project = block.number, 1 + int(block.expands)
        for part in (0, 1):
            for layer in range(project):
                names[f"{block.canonical}.{layer}.{part}"] = f"features.{last}.conv.{layer}.{part}"
            names[f"{block.canonical}.{project}.{part}"] = f"features.{last}.conv.{project + part}"
    for part in (0, 1):
        names[f"features.{len(spec.stages) + 1}.{part}"] = f"features.{last + 1}.{part}"
    return names


def mnasnet_names(spec: NetSpec) -> dict[str, str]:
    """{canonical: torchvision's ``mnasnet``}: one flat list ``layers``; each convolution takes three places.

    Raises UserError for squeeze-excitation or fused blocks, and where not exactly the first stage is a
    single block without expansion.
    """
    require_plain(spec, "mnasnet")
    names = {"features.0.0": "layers.0", "features.0.1": "layers.1"}
    for block in blocks(spec):
        first = block.number == 1
        if block.expands == first or (first and block.stage.depth != 1):
            raise UserError(
                f"{spec.name}: {block.canonical}",
                f"expand_ratio {block.stage.expand_ratio:g}, {block.stage.depth} block(s)",
                "for mnasnet weights: one block without expansion in stage 1, expansion in all others",
            )
        stack = "layers." if first else f"layers.{6 + block.stage_number}.{block.index}.layers."
        for layer in range(2 + int(block.expands)):
            for part in (0, 1):
                names[f"{block.canonical}.{layer}.{part}"] = f"{stack}{3 * (layer + int(first)) + part}"
    for part in (0, 1):
        names[f"features.{len(spec.stages) + 1}.{part}"] = f"layers.{7 + len(spec.stages) + part}"
    return names


def mobilenet_v3_names(spec: NetSpec) -> dict[str, str]:
    """{canonical: torchvision's ``mobilenet_v3``}: blocks counted through, the hidden layer first in the classifier.

    Raises UserError for other blocks than MBConv, and for a network without hidden layer.
    """
    if not spec.head.hidden or any(stage.block != "mbconv" for stage in spec.stages):
        raise UserError(spec.name, "no hidden layer or other blocks", "MBConv blocks and a head with a hidden layer")
    names, last = {"hidden.0": "classifier.0", "classifier.1": "classifier.3"}, 0
    for block in blocks(spec):
        last = block.number
        for layer in range(3 + int(block.expands)):
            for leaf in ("0", "1", "fc1", "fc2"):
                names[f"{block.canonical}.{layer}.{leaf}"] = f"features.{last}.block.{layer}.{leaf}"
    for part in (0, 1):
        names[f"features.{len(spec.stages) + 1}.{part}"] = f"features.{last + 1}.{part}"
    return names


def resnet_names(spec: NetSpec) -> dict[str, str]:
    """{canonical: torchvision's ``resnet``, which is timm's too}: ``layer1`` to ``layer4``, ``downsample``, ``fc``.

    Raises UserError for other blocks than ResNet's, and for a head convolution.
    """
    names = {"features.0.0": "conv1", "features.0.1": "bn1", "classifier.1": "fc"}
    if spec.head.width or spec.head.hidden:
        raise UserError(f"{spec.name}: head", f"width {spec.head.width}", "no head for resnet weights")
    for block in blocks(spec):
        if block.stage.block not in RESNET_BLOCKS:
            found = f'"{block.stage.block}"'
            wanted = '"basic" or "bottleneck" for resnet weights'
            raise UserError(f"{spec.name}: stage {block.stage_number}", found, wanted)
        foreign = f"layer{block.stage_number}.{block.index}"
        for number in range(RESNET_CONVOLUTIONS[block.stage.block]):
            names[f"{block.canonical}.{number}.0"] = f"{foreign}.conv{number + 1}"
            names[f"{block.canonical}.{number}.1"] = f"{foreign}.bn{number + 1}"
        if block.shortcut == "projection":
            for part in (0, 1):
                names[f"{block.canonical_shortcut}.{part}"] = f"{foreign}.downsample.{part}"
    return names


NAMES = {
    "efficientnet": efficientnet_names,
    "efficientnet_lite": efficientnet_lite_names,
    "mobilenet_v2": mobilenet_v2_names,
    "mobilenet_v3": mobilenet_v3_names,
    "mnasnet": mnasnet_names,
    "resnet": resnet_names,
}


def rename(state: Mapping[str, Tensor], modules: Mapping[str, str]) -> OrderedDict[str, Tensor]:
    """The same tensors under new module paths; a name that the table does not know stays."""
    renamed = OrderedDict()
    for name, tensor in state.items():
        module, _, leaf = name.rpartition(".")
        renamed[f"{modules.get(module, module)}.{leaf}" if module else name] = tensor
    return renamed


def to_torchvision(spec: NetSpec, state: Mapping[str, Tensor], family: Family) -> OrderedDict[str, Tensor]:
    """A canonical state dict under the family's names; loads strictly into torchvision's module.

    Raises UserError where the family has no names for the spec's blocks.
    """
    renamed = rename(state, NAMES[family](spec))
    if family == "mnasnet":
        # torchvision's MNASNet refuses a state dict that does not carry its layout version
        renamed._metadata = {"": {"version": 2}}  # type: ignore[attr-defined]
    return renamed


def from_torchvision(spec: NetSpec, state: Mapping[str, Tensor], family: Family) -> OrderedDict[str, Tensor]:
    """The family's state dict under canonical names; names foreign to the spec stay as they are.

    Raises UserError where the family has no names for the spec's blocks.
    """
    return rename(state, {foreign: canonical for canonical, foreign in NAMES[family](spec).items()})
