"""Trained weights for torchvision's own classifiers: what it publishes, or a file of tensors that fit."""

import contextlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor, nn

from scalesearch.design.spec import TorchvisionSpec
from scalesearch.errors import UserError
from scalesearch.nets.checkpoints import unwrapped
from scalesearch.nets.identify import listed, misfits
from scalesearch.nets.modules import LINEAR_DEVIATION
from scalesearch.nets.sources import NEAREST, SUFFIXES, TORCHVISION_LICENCE, downloaded, imagenet_names, pixels_of
from scalesearch.nets.torchvision_net import AUXILIARY, last_layer, network_of
from scalesearch.nets.weights import PIXELS, digest, read_metadata, read_weights

if TYPE_CHECKING:
    from torchvision.models import WeightsEnum

# names in published files that torchvision's own loaders translate: of DenseNet's layers and vision transformers' MLPs
RENAMED = (
    (re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)"), r"\1\2"),
    (re.compile(r"(encoder_layer_\d+\.mlp)\.linear_1\."), r"\1.0."),
    (re.compile(r"(encoder_layer_\d+\.mlp)\.linear_2\."), r"\1.3."),
)
CENTRED = {"mean": [0.5] * 3, "std": [0.5] * 3}


@dataclass(frozen=True, eq=False)
class TorchvisionWeights:
    """Tensors for a network of torchvision's.

    Args:
        name: what was asked for: an enum's name or a file.
        state: under torchvision's names, without auxiliary heads; the last layer may be of another number of classes.
        digest: 12 hex digits of the tensors as they were read.
        metadata: as of ``sources.WeightSource``: how images are normalised, and the names of the classes.
        licence: as torchvision states it; "" of a file.
    """

    name: str
    state: Mapping[str, Tensor]
    digest: str
    metadata: Mapping[str, str]
    licence: str = ""


def torchvision_state(spec: TorchvisionSpec, named: str) -> TorchvisionWeights:
    """Weights for a network of torchvision's.

    Args:
        named: "imagenet" (torchvision's default weights of this network), one of its enum's names, such as
            "ResNet50_Weights.IMAGENET1K_V2" or "IMAGENET1K_V2", a file of tensors, or a folder with one that fits.

    Raises:
        UserError: no such weights, no network to fetch them, or tensors that do not fit, the last layer's apart.
    """
    path, weights = Path(os.path.expanduser(named)), None
    if path.is_dir():
        return _only_fitting(spec, path)
    if not path.is_file() and path.suffix not in SUFFIXES:
        weights = _enum(spec, named)
        name, read, metadata = str(weights), downloaded(weights, named), imagenet_names(spec)
    else:
        name, read, metadata = str(path), read_weights(path).state, read_metadata(path)
    fitted = _fitting(spec, read, name)
    licence = TORCHVISION_LICENCE if weights else ""
    return TorchvisionWeights(name, fitted, digest(read), {PIXELS: _pixels(spec, weights), **metadata}, licence)


def transfer(network: nn.Module, state: Mapping[str, Tensor], *, classifier: bool) -> None:
    """Gives a network these tensors, and its last layer new values where ``classifier`` is False or another number of
    classes was learnt: weights N(0, 0.01), drawn from torch's random state, biases 0."""
    name, layer = last_layer(network)
    kept = classifier and (known := state.get(f"{name}.weight")) is not None and known.shape == layer.weight.shape
    given = {key: tensor for key, tensor in state.items() if kept or not key.startswith(f"{name}.")}
    network.load_state_dict(given, strict=False)
    if not kept:
        nn.init.normal_(layer.weight, 0, LINEAR_DEVIATION)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def _enum(spec: TorchvisionSpec, named: str) -> "WeightsEnum":
    from torchvision.models import get_model_weights

    known = get_model_weights(spec.name)
    names = {str(one): one for one in known} | {one.name: one for one in known}
    if named == NEAREST and known:
        return getattr(known, "DEFAULT", next(iter(known)))
    if named not in names:
        listing = ", ".join(map(str, known))
        problem = f"it is neither a file, a folder nor weights that torchvision has of {spec.name}."
        raise UserError(named, problem, do=f'Give "{NEAREST}", {listing}, or a file.' if listing else "Give a file.")
    return names[named]


def _pixels(spec: TorchvisionSpec, weights: "WeightsEnum | None") -> str:
    """As metadata: how these weights, or a file's, expect images; as the default weights where a file does not say.

    GoogLeNet's and Inception v3's were trained in TensorFlow, on pixels from −1 to 1; torchvision gets there from
    ImageNet's statistics (``transform_input``), which ours leaves out.
    """
    from torchvision.models import get_model_weights

    usual = json.loads(pixels_of(weights or get_model_weights(spec.name).DEFAULT))
    return json.dumps(usual | (CENTRED if spec.name in AUXILIARY else {}))


def _only_fitting(spec: TorchvisionSpec, folder: Path) -> TorchvisionWeights:
    """Of a folder's files the one that fits. Raises UserError where none does, or several."""
    fitting, refused = list[TorchvisionWeights](), list[str]()
    for path in sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES):
        try:
            fitting.append(torchvision_state(spec, str(path)))
        except UserError as error:
            refused.append(f"{path.name}: {error.problem}")
    if len(fitting) == 1:
        return fitting[0]
    names = ", ".join(Path(one.name).name for one in fitting)
    what = f"several files fit {spec.name}: {names}." if fitting else f"no file fits {spec.name}. {' '.join(refused)}"
    raise UserError(str(folder), what.strip(), do="Name the file.")


def _fitting(spec: TorchvisionSpec, read: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """The tensors under the network's names. Raises UserError where they are not all there, the last layer's apart."""
    network = network_of(spec, seed=0)
    expected, (name, layer) = network.state_dict(), last_layer(network)
    problems: list[list[str]] = []
    for given in unwrapped(read):
        state = _canonical(spec, network, given)
        head = state.get(f"{name}.weight")
        other = head is not None and head.shape[1:] == layer.weight.shape[1:] and len(head) != len(layer.weight)
        body = {key: tensor for key, tensor in state.items() if not (other and key.startswith(f"{name}."))}
        problems.append(misfits(expected, body, f"{name}."))
        if not problems[-1]:
            return state
    best = min(problems, key=len)
    raise UserError(where, f"the tensors do not fit torchvision's {spec.name}: {listed(best)}.")


def _canonical(spec: TorchvisionSpec, network: nn.Module, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Under the names of today's torchvision, without auxiliary heads, and a vision transformer's positions resized."""
    from torchvision.models.vision_transformer import VisionTransformer, interpolate_embeddings

    state = {name: tensor for name, tensor in given.items() if not name.startswith(AUXILIARY.get(spec.name, "-"))}
    for pattern, name in RENAMED:
        state = {pattern.sub(name, key): tensor for key, tensor in state.items()}
    if isinstance(network, VisionTransformer):
        with contextlib.suppress(KeyError, ValueError):  # no such positions: then it is said that they do not fit
            state = dict(interpolate_embeddings(spec.resolution, network.patch_size, state))
    return state
