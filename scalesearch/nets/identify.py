"""Which network a state dict belongs to, read off its names and shapes."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from torch import Tensor

from scalesearch.design.scaling import published_spec
from scalesearch.design.space import load_space, space_names
from scalesearch.design.spec import NetSpec
from scalesearch.errors import UserError
from scalesearch.nets.layers import layers
from scalesearch.nets.lukemelas_names import lukemelas_names
from scalesearch.nets.naming import NAMES, rename
from scalesearch.nets.timm_names import timm_names

NAMINGS = {**NAMES, "timm": timm_names, "lukemelas": lukemelas_names}
WRAPPERS = re.compile(r"^(?:module\.|_orig_mod\.|model\.)+")  # left by DataParallel, torch.compile and Lightning
BODY = ("features.", "blocks.", "_blocks.", "layer")


def known_specs() -> Iterator[NetSpec]:
    """The shipped baselines and their released members."""
    for name in space_names():
        space = load_space(name)
        yield space.baseline
        for member in space.published:
            yield published_spec(space, member.name)


def identify(state: Mapping[str, Tensor], where: str) -> tuple[NetSpec, dict[str, Tensor]]:
    """The architecture of a state dict, and its tensors under canonical names.

    Known are the shipped baselines and released members at any width, named as torchvision, timm or
    efficientnet_pytorch name them. Strides, activation, padding and resolution are the known network's: they are not
    in the tensors. A missing classifier counts as the known one's.

    Raises UserError where nothing known has these tensors.
    """
    given = {WRAPPERS.sub("", name): tensor for name, tensor in state.items()}
    modules = {name.rpartition(".")[0] for name in given}
    found: list[tuple[NetSpec, dict[str, Tensor]]] = []
    for known in known_specs():
        for naming in NAMINGS.values():
            try:
                names = naming(known)
            except UserError:  # blocks that this naming has no words for
                continue
            expected = {path: names.get(path, path) for path in _modules(known)}
            if not all(name in modules for path, name in expected.items() if not path.startswith("classifier")):
                continue
            renamed = dict(rename(given, {foreign: path for path, foreign in expected.items()}))
            if any(name.startswith(BODY) and _module(name) not in expected for name in renamed):
                continue  # a deeper network's
            spec = measured(known, renamed)
            if spec is None:
                continue
            if spec == replace(known, classes=spec.classes, in_channels=spec.in_channels):
                return spec, renamed
            found.append((spec, renamed))
    if found:
        return found[0]
    shown = ", ".join(list(given)[:3])
    raise UserError(
        where, f"the tensors of no known network ({shown}, …)",
        "EfficientNet, EfficientNet-Lite, MobileNetV2, MobileNetV3, ResNet or a model of scalesearch, named as "
        "torchvision, timm or efficientnet_pytorch name them",
    )  # fmt: skip


def measured(known: NetSpec, state: Mapping[str, Tensor]) -> NetSpec | None:
    """``known`` with the widths that the tensors have; None where kernels, expansion or squeeze are not its own."""
    widths: dict[int, int] = {}
    weights = {layer: state.get(f"{layer.path}.weight") for layer in layers(known)}
    if any(weight is not None and weight.ndim not in (2, 4) for weight in weights.values()):
        return None
    for layer, weight in weights.items():
        if weight is not None and layer.closes:
            widths[layer.stage] = len(weight)
    stem, classifier = state.get("features.0.0.weight"), state.get("classifier.1.weight")
    if stem is None or len(widths) < len(known.stages) or min(stem.shape[1], len(stem), *widths.values()) < 1:
        return None
    head, hidden = state.get(f"features.{len(known.stages) + 1}.0.weight"), state.get("hidden.0.weight")
    spec = replace(
        known,
        stem=replace(known.stem, width=len(stem)),
        stages=tuple(replace(stage, width=widths[number]) for number, stage in enumerate(known.stages, start=1)),
        head=replace(known.head, width=_rows(head), hidden=_rows(hidden)),
        in_channels=stem.shape[1],
        classes=known.classes if classifier is None else len(classifier),
    )
    shapes = expected_shapes(spec)
    fits = all(tuple(tensor.shape) == shapes.get(name, tuple(tensor.shape)) for name, tensor in state.items())
    return spec if fits else None


def _rows(weight: Tensor | None) -> int:
    return 0 if weight is None else len(weight)


def expected_shapes(spec: NetSpec) -> dict[str, tuple[int, ...]]:
    """Shape of each tensor, by name."""
    from scalesearch.nets.weights import empty_state

    return {name: tuple(tensor.shape) for name, tensor in empty_state(spec).items()}


def _modules(spec: NetSpec) -> list[str]:
    return [path for layer in layers(spec) for path in (layer.path, layer.norm) if path]


def _module(name: str) -> str:
    return name.rpartition(".")[0]
