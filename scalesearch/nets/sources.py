"""Trained weights to start from: models of ours, other people's files, and what timm and torchvision publish."""

import contextlib
import difflib
import io
import json
import os
import urllib.error
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import torch
from torch import Tensor

from scalesearch.design.spec import Architecture, NetSpec, Padding
from scalesearch.errors import UserError
from scalesearch.nets.checkpoints import Weights
from scalesearch.nets.hub import HubNetwork, read_hub
from scalesearch.nets.identify import Identified, distance, identify, known_specs, listed, misfits
from scalesearch.nets.modules import MBConvNet, build
from scalesearch.nets.publishers import TIMM, Published, fetched, known_network, published, require_params
from scalesearch.nets.weights import (
    CHANNELS,
    FORMAT,
    INTERPOLATION,
    PIXELS,
    RESIZE,
    digest,
    load_network,
    read_metadata,
    read_safetensors,
    read_weights,
)

if TYPE_CHECKING:
    from torchvision.models import WeightsEnum

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
PUBLISHED = ("efficientnet_b0", "efficientnet_b1", "efficientnet_b2", "efficientnet_b3", "efficientnet_b4",
             "efficientnet_b5", "efficientnet_b6", "efficientnet_b7", "mobilenet_v2", "mobilenet_v3_large",
             "mobilenet_v3_small", "mnasnet1_0", "resnet18", "resnet34", "resnet50", "resnet101", "resnet152",
             "wide_resnet50_2", "wide_resnet101_2", "efficientnet_v2_s", "efficientnet_v2_m")  # fmt: skip
IN1K = "in1k"  # ends the names of timm's weights that were last trained on ImageNet-1k
NEAREST = "imagenet"
TORCHVISION_LICENCE = "torchvision's weights: BSD-3-Clause code, trained on ImageNet (terms of ImageNet apply)"


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
        assumed: what the file does not say and was taken from a known network; "" where nothing was.
        stated: whether padding and eps are known from the user or the publisher, where they need not be the target's.
    """

    name: str
    spec: NetSpec
    state: Mapping[str, Tensor]
    digest: str
    metadata: Mapping[str, str]
    licence: str = ""
    assumed: str = ""
    stated: bool = False


@dataclass(frozen=True)
class Stated:
    """What a user states of weights that tensors do not carry; None: as the publisher or the known network has it.

    Args:
        padding: of the convolutions ("same" for weights trained in TensorFlow); ``eps``: of the batch norms.
        network: whose weights a file holds, such as "timm:tf_efficientnet_b0".
    """

    padding: Padding | None = None
    eps: float | None = None
    network: str | None = None


def open_weights(named: str, target: NetSpec, stated: Stated = Stated()) -> WeightSource:
    """What ``--weights`` means.

    Args:
        named: one of torchvision's enums ("EfficientNet_B0_Weights.IMAGENET1K_V1", or "efficientnet_b0" for its
            default), "imagenet" for the one nearest to ``target``, a network of timm's ("timm:tf_efficientnet_b0"), a
            file, a folder as the Hugging Face Hub keeps it, or a folder of files (the nearest again).
        stated: of other people's weights; a model of ours says for itself.

    Raises:
        UserError: no such weights, no network to fetch them, or tensors of no known network.
    """
    source = _opened(named, target, stated)
    if source.metadata.get("format") == FORMAT or stated == Stated():
        return source
    if stated.padding not in (None, *get_args(Padding)):
        known = " nor ".join(f'"{one}"' for one in get_args(Padding))
        raise UserError("--source-padding", f'"{stated.padding}" is neither {known}.')
    norm, spec = source.spec.batch_norm, source.spec
    spec = replace(spec, batch_norm=replace(norm, eps=stated.eps or norm.eps), padding=stated.padding or spec.padding)
    return replace(source, spec=spec, stated=True)


def trained_network(named: str, stated: Stated = Stated()) -> tuple[MBConvNet, dict[str, str], str]:
    """A network as it was trained, in evaluation mode on the CPU, what its file or its publisher says (metadata), and
    what was assumed of it.

    Args:
        named: as ``open_weights`` takes it, but one network, not the nearest of several.

    Raises:
        UserError: as ``open_weights``; weights without a classifier.
    """
    path = Path(os.path.expanduser(named))
    several = path.is_dir() and len(list(_weight_files(path))) != 1
    if not named.strip() or named == NEAREST or several:
        raise UserError(named or "MODEL", "this is not one network.", do="Name its file, or published weights.")
    if path.is_file() and read_metadata(path).get("format", "").startswith("scalesearch-"):
        return *load_network(path), ""
    source = open_weights(named, next(known_specs()), stated)
    network = build(source.spec, seed=0).eval()
    if missing := misfits(network.state_dict(), source.state):
        problem = f"these are the weights of a body, which names no classes ({listed(missing)})."
        raise UserError(named, problem, do="Fine-tune them: scalesearch finetune --weights.")
    network.load_state_dict(dict(source.state), strict=False)
    return network, dict(source.metadata), source.assumed


def adopted(target: NetSpec, source: WeightSource) -> NetSpec:
    """The target with what is stated of the weights that it inherits: only so they compute what they did."""
    if not source.stated:
        return target
    norm = replace(target.batch_norm, eps=source.spec.batch_norm.eps)
    return replace(target, padding=source.spec.padding, batch_norm=norm)


def imagenet_names(spec: Architecture) -> dict[str, str]:
    """As metadata: ImageNet's class names, of a network that has as many; two that are shared carry their number."""
    from torchvision.models import ResNet18_Weights

    names = ResNet18_Weights.DEFAULT.meta["categories"]
    if spec.classes != len(names):
        return {}
    twice = {name for name, count in Counter(names).items() if count > 1}
    return {"classes": json.dumps([f"{name} {i}" if name in twice else name for i, name in enumerate(names)])}


def _opened(named: str, target: NetSpec, stated: Stated) -> WeightSource:
    path = Path(os.path.expanduser(named))
    is_file = not path.is_dir() and (path.suffix in SUFFIXES or path.is_file())
    if stated.network is not None and not is_file:
        problem = f"{named} is no file, and only of a file it has to be said what network it is of."
        raise UserError(f"--source {stated.network}", problem, do="Leave it out, or name a file with --weights.")
    if path.is_dir():
        hub = read_hub(path)
        if isinstance(hub, HubNetwork):
            return from_hub(hub, str(path))
        return nearest_file(path, target, stated) if hub is None else from_file(hub, target)
    if is_file:
        if stated.network is None or read_metadata(path).get("format") == FORMAT:
            return from_file(path, target, stated)
        return from_publisher(published(stated.network), str(path), read_weights(path))
    if named.startswith(TIMM):
        one = published(named)
        return from_publisher(one, f"{TIMM}{one.name}", Weights(fetched(one)))
    return from_torchvision_enum(nearest_published(target) if named == NEAREST else named)


def from_publisher(one: Published, name: str, read: Weights, *, reshaped: bool = False) -> WeightSource:
    """A published network's weights, with what its publisher says of it; ``reshaped``: of another shape.

    Raises UserError where the tensors are not that network's.
    """
    found = identify(read.state, name, [known_network(one)])
    if not reshaped:
        require_params(one, found.state, name)
    spec = replace(one.told(found.spec), name=one.name.partition(".")[0], resolution=one.resolution)
    metadata = {PIXELS: json.dumps(one.pixels), **(imagenet_names(spec) if one.name.endswith(IN1K) else {})}
    return WeightSource(name, spec, found.state, digest(read.state), metadata, one.licence, read.said, stated=True)


def from_hub(hub: HubNetwork, name: str) -> WeightSource:
    """A network of timm's as a folder of the Hub keeps it. Raises UserError where tensors or names are not its own."""
    one, read = hub.published, read_weights(hub.weights)
    source = from_publisher(one, name, read, reshaped=hub.reshaped)
    metadata = dict(source.metadata) if len(one.mean) == CHANNELS else {}
    if hub.classes:
        if len(hub.classes) != source.spec.classes:
            problem = f"{len(hub.classes)} label_names are not those of a network of {source.spec.classes} classes."
            raise UserError(f"{name}: config.json", problem)
        metadata["classes"] = json.dumps(hub.classes)
    said = "; ".join(text for text in (source.assumed, hub.said) if text)
    return replace(source, metadata=metadata, assumed=said)


def from_file(path: Path, target: NetSpec, stated: Stated = Stated()) -> WeightSource:
    """A model of ours, or a state dict in torchvision's, timm's or efficientnet_pytorch's naming, of a known network or
    of ``target``; what is ``stated`` is not assumed."""
    if path.suffix == ".safetensors":
        state, metadata = read_safetensors(path)
        read = Weights(state)
    else:
        read, metadata = read_weights(path), {}
    if metadata.get("format") == FORMAT:
        network, metadata = load_network(path)
        return WeightSource(str(path), network.spec, network.state_dict(), digest(read.state), metadata)
    found = identify(read.state, str(path), [target])
    said = "; ".join(text for text in (read.said, assumed(found, stated)) if text)
    return WeightSource(str(path), found.spec, found.state, digest(read.state), metadata, assumed=said)


def assumed(found: Identified, stated: Stated) -> str:
    """What a bare state dict does not say, nobody stated, and was taken from a known network, as a sentence."""
    spec = found.spec
    shape = "of the shape of" if found.same else "nearest to those of"
    padding = "" if stated.padding else f", padding {spec.padding}"
    eps = "" if stated.eps else f", eps {spec.batch_norm.eps:g}"
    told = ([f"padding {stated.padding}"] if stated.padding else []) + ([f"eps {stated.eps:g}"] if stated.eps else [])
    yours = f"; as you state, {' and '.join(told)}" if told else ""
    return (
        f"tensors named as {found.naming}'s, {shape} {found.known.name}, from which comes what tensors do not say: "
        f"strides, activation {spec.activation}{padding}{eps}{yours}"
    )


def _weight_files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.iterdir() if path.suffix in SUFFIXES)


def nearest_file(folder: Path, target: NetSpec, stated: Stated = Stated()) -> WeightSource:
    """Of a folder's files the one whose network is most like ``target``. Raises UserError where none is known."""
    sources: list[WeightSource] = []
    refused: list[str] = []
    for path in sorted(_weight_files(folder)):
        try:
            sources.append(from_file(path, target, stated))
        except UserError as error:
            refused.append(f"{path.name}: {error.problem}")
    if not sources:
        what = " ".join(refused) or f"there is no file ending in {', '.join(SUFFIXES)}."
        raise UserError(f"--weights {folder}", f"the folder holds no weights of a known network: {what}")
    return min(sources, key=lambda source: distance(source.spec, target))


def nearest_published(target: NetSpec) -> str:
    """The name in torchvision of the published network most like ``target``."""
    known = [spec for spec in known_specs() if spec.name in PUBLISHED]
    return min(known, key=lambda spec: distance(spec, target)).name


def from_torchvision_enum(named: str) -> WeightSource:
    """Published weights by torchvision's name; torchvision downloads them and checks their hash.

    Raises UserError for unknown names, networks that no space describes, and where they cannot be fetched.
    """
    from torchvision.models import get_model, get_model_weights, get_weight, list_models

    names = list_models(module=None)
    try:
        weights = get_weight(named) if "." in named else get_model_weights(named).DEFAULT
    except (ValueError, AttributeError, KeyError):
        near = difflib.get_close_matches(named.lower().split("_weights")[0], names, 1)
        raise UserError(
            named, f'it is neither a file, a folder of files, "{NEAREST}" nor a name of torchvision such as '
            "efficientnet_b0 or EfficientNet_B0_Weights.IMAGENET1K_V1.",
            do=f'Did you mean "{near[0]}"?' if near else "",
        ) from None  # fmt: skip
    model = type(weights).__name__.removesuffix("_Weights").lower()
    try:
        with torch.device("meta"):
            identify(get_model(model, weights=None).state_dict(), named)  # before anything is fetched
    except UserError as error:
        known = f"Known are weights of {', '.join(PUBLISHED)}, and files."
        problem = f"it is no network that this project can express: {error.problem}"
        raise UserError(named, problem, do=known) from error
    state = downloaded(weights, named)
    found = identify(state, named)
    metadata = {PIXELS: pixels_of(weights), **imagenet_names(found.spec)}
    spec = replace(found.spec, resolution=int(weights.transforms().crop_size[0]))
    return WeightSource(str(weights), spec, found.state, digest(state), metadata, TORCHVISION_LICENCE)


def downloaded(weights: "WeightsEnum", named: str) -> dict[str, Tensor]:
    """The tensors of one of torchvision's enums, from torch's cache, or fetched and their hash checked.

    Raises UserError for a damaged file in the cache, and where they cannot be fetched, with where a file may be put.
    """
    file = Path(torch.hub.get_dir()) / "checkpoints" / weights.url.rpartition("/")[2]
    if file.is_file():
        return read_weights(file).state
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return dict(weights.get_state_dict(progress=False, check_hash=True))
    except (urllib.error.URLError, OSError, RuntimeError) as error:
        raise UserError(
            named, f"they cannot be fetched ({error}), and there is no file {file}.",
            do=f"Bring {weights.url} from a machine that is connected and put it there, or name it: --weights FILE.",
        ) from error  # fmt: skip


def pixels_of(weights: "WeightsEnum") -> str:
    """As metadata: how images are cut and normalised for one of torchvision's enums."""
    preset = weights.transforms()
    return json.dumps({
        "mean": preset.mean, "std": preset.std, RESIZE: preset.resize_size[0],
        INTERPOLATION: preset.interpolation.value,
    })  # fmt: skip
