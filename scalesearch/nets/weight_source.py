"""Where weights come from: torchvision's published ones, a file, a folder of files, a model of ours."""

import contextlib
import difflib
import hashlib
import io
import json
import math
import urllib.error
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import torch
from torch import Tensor

from scalesearch.design.spec import NetSpec, Padding
from scalesearch.errors import UserError
from scalesearch.nets.identify import identify, known_specs
from scalesearch.nets.weights import FORMAT, load_network, read_safetensors, read_state

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
PUBLISHED = ("efficientnet_b0", "efficientnet_b1", "efficientnet_b2", "efficientnet_b3", "efficientnet_b4",
             "efficientnet_b5", "efficientnet_b6", "efficientnet_b7", "mobilenet_v2", "mobilenet_v3_large",
             "mobilenet_v3_small", "resnet18", "resnet34", "resnet50", "resnet101", "resnet152")  # fmt: skip
OTHER_FAMILY = 1000.0  # networks without a kind of block in common
NEAREST = "imagenet"


@dataclass(frozen=True, eq=False)
class WeightSource:
    """Trained weights and the network they belong to.

    Args:
        name: what was asked for: an enum's name or a file.
        spec: the network, with the resolution that it was trained at.
        state: tensors under canonical names; the classifier may be missing.
        digest: 12 hex digits of the tensors.
        metadata: of a model file of ours, else what the publisher says: ``mean`` and ``std`` as JSON.
        licence: as the publisher states it, "" where nothing is known.
    """

    name: str
    spec: NetSpec
    state: Mapping[str, Tensor]
    digest: str
    metadata: Mapping[str, str]
    licence: str = ""


def open_weights(named: str, target: NetSpec, padding: str | None = None) -> WeightSource:
    """What ``--weights`` means.

    Args:
        named: one of torchvision's enums ("EfficientNet_B0_Weights.IMAGENET1K_V1", or "efficientnet_b0" for its
            default), "imagenet" for the one nearest to ``target``, a file, or a folder of files (the nearest again).
        padding: how the source's convolutions were padded, where it is not as the known network's ("same" for weights
            trained in TensorFlow); None: as known.

    Raises:
        UserError: no such weights, no network to fetch them, or tensors of no known network.
    """
    path = Path(named).expanduser()
    if path.is_dir():
        found = nearest_file(path, target)
    elif path.suffix in SUFFIXES or path.is_file():
        found = from_file(path)
    else:
        found = from_torchvision_enum(nearest_published(target) if named == NEAREST else named)
    if padding is None or found.metadata.get("format") == FORMAT:
        return found
    if padding not in get_args(Padding):
        raise UserError("--source-padding", padding, " or ".join(get_args(Padding)))
    return replace(found, spec=replace(found.spec, padding=padding))  # type: ignore[arg-type]


def from_file(path: Path) -> WeightSource:
    """A model of ours, or a state dict in torchvision's, timm's or efficientnet_pytorch's naming."""
    metadata: dict[str, str] = {}
    if path.suffix == ".safetensors":
        state, metadata = read_safetensors(path)
    else:
        state = read_state(path)
    if metadata.get("format") == FORMAT:
        network, metadata = load_network(path)
        return WeightSource(str(path), network.spec, network.state_dict(), digest(state), metadata)
    spec, canonical = identify(state, str(path))
    return WeightSource(str(path), spec, canonical, digest(state), metadata)


def nearest_file(folder: Path, target: NetSpec) -> WeightSource:
    """Of a folder's files the one whose network is most like ``target``. Raises UserError where none is known."""
    found: list[WeightSource] = []
    refused: list[str] = []
    for path in sorted(p for p in folder.iterdir() if p.suffix in SUFFIXES):
        try:
            found.append(from_file(path))
        except UserError as error:
            refused.append(f"{path.name}: {error.found}")
    if not found:
        what = "; ".join(refused) or f"no file ending in {', '.join(SUFFIXES)}"
        raise UserError(f"--weights {folder}", what, "weights of a known network")
    return min(found, key=lambda source: distance(source.spec, target))


def nearest_published(target: NetSpec) -> str:
    """The name in torchvision of the published network most like ``target``."""
    known = [spec for spec in known_specs() if spec.name in PUBLISHED]
    return min(known, key=lambda spec: distance(spec, target)).name


def distance(source: NetSpec, target: NetSpec) -> float:
    """How much has to be changed: log ratios of widths and depths, kernels, squeeze, activation. 0: nothing."""
    foreign = {stage.block for stage in source.stages}.isdisjoint(stage.block for stage in target.stages)
    apart = OTHER_FAMILY if foreign else 0.0
    if len(source.stages) != len(target.stages):
        return apart + 100.0 + abs(len(source.stages) - len(target.stages))
    total = apart + float(source.activation != target.activation) + float(source.padding != target.padding) / 2
    total += abs(math.log(source.stem.width / target.stem.width)) + abs(
        math.log(source.pooled_width / target.pooled_width)
    )
    for old, new in zip(source.stages, target.stages, strict=True):
        total += abs(math.log(old.width / new.width)) + abs(math.log(old.depth / new.depth)) / 2
        total += abs(old.kernel - new.kernel) / 4 + float(old.block != new.block) * 4
        total += float((old.activation or source.activation) != (new.activation or target.activation)) / 2
        total += float(old.squeeze != new.squeeze and old.se_ratio > 0 < new.se_ratio) / 2
        total += abs(old.se_ratio - new.se_ratio) + abs(math.log(old.expand_ratio / new.expand_ratio))
    return total


def from_torchvision_enum(named: str) -> WeightSource:
    """Published weights by torchvision's name; torchvision downloads them and checks their hash.

    Raises UserError for unknown names, networks that no space describes, and where they cannot be fetched.
    """
    from torchvision.models import get_model_weights, get_weight, list_models

    names = list_models(module=None)
    try:
        weights = get_weight(named) if "." in named else get_model_weights(named).DEFAULT
    except (ValueError, AttributeError, KeyError):
        near = difflib.get_close_matches(named.lower().split("_weights")[0], names, 1)
        raise UserError(
            "--weights", f'"{named}"',
            f'a file, a folder of files, "{NEAREST}" or a name of torchvision, e.g. efficientnet_b0 or '
            "EfficientNet_B0_Weights.IMAGENET1K_V1",
            f'Did you mean "{near[0]}"?' if near else "",
        ) from None  # fmt: skip
    model = type(weights).__name__.removesuffix("_Weights").lower()
    if model not in PUBLISHED:
        raise UserError(
            "--weights", f"{named}, which is no network that this project can express",
            f"weights of {', '.join(PUBLISHED)}, or a file",
        )  # fmt: skip
    file = Path(torch.hub.get_dir()) / "checkpoints" / weights.url.rpartition("/")[2]
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            state = weights.get_state_dict(progress=False, check_hash=True)
    except (urllib.error.URLError, OSError, RuntimeError) as error:
        raise UserError(
            f"--weights {named}", f"no way to fetch them ({error})", f"the network, or the file {file}",
            f"Bring {weights.url} from a machine that is connected and put it there, or name it: --weights FILE.",
        ) from error  # fmt: skip
    spec, canonical = identify(state, named)
    preset = weights.transforms()
    metadata = {"pixel_statistics": json.dumps({"mean": list(preset.mean), "std": list(preset.std)})}
    spec = replace(spec, resolution=int(preset.crop_size[0]))
    licence = "torchvision's weights: BSD-3-Clause code, trained on ImageNet (terms of ImageNet apply)"
    return WeightSource(str(weights), spec, canonical, digest(state), metadata, licence)


def digest(state: Mapping[str, Tensor]) -> str:
    """12 hex digits of names and values."""
    found = hashlib.sha256()
    for name in sorted(state):
        found.update(name.encode())
        found.update(state[name].detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()[:12]
