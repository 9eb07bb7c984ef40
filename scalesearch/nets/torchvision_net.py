"""torchvision's own classifiers, beside the networks that a spec describes: their names, how they are built, what they
cost."""

import difflib
import re
from types import MethodType
from typing import Any

import torch
from torch import nn

from scalesearch.design.spec import Architecture, NetSpec, TorchvisionSpec
from scalesearch.errors import UserError
from scalesearch.nets.counting import count
from scalesearch.nets.modules import build

# heads that are trained beside the last one and left out after training; how their tensors' names begin
AUXILIARY = {"googlenet": ("aux1.", "aux2."), "inception_v3": ("AuxLogits.",)}


def network_of(spec: Architecture, seed: int | None = None) -> nn.Module:
    """The network of a spec, freshly initialised, in training mode; ``seed`` as for ``modules.build``.

    torchvision's are as its code makes them, dropout and stochastic depth included, with two exceptions: GoogLeNet and
    Inception v3 come without their auxiliary heads, so that in training, too, they give logits (N, classes) and nothing
    else, and with their normalisation left to the data (``torchvision_weights``).
    """
    if isinstance(spec, NetSpec):
        return build(spec, seed)
    if seed is None:
        return _made(spec)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return _made(spec)


def _made(spec: TorchvisionSpec) -> nn.Module:
    from torchvision.models import MNASNet, get_model

    options: dict[str, Any] = {}
    if spec.name in AUXILIARY:
        options = {"aux_logits": False, "init_weights": True}
    elif spec.name.startswith("vit_"):
        options = {"image_size": spec.resolution}
    elif spec.name.startswith("maxvit_"):
        options = {"input_size": (spec.resolution, spec.resolution)}
    network: nn.Module = get_model(spec.name, weights=None, num_classes=spec.classes, **options)
    if isinstance(network, MNASNet):  # its own loader refuses tensors that do not say which version saved them
        network._load_from_state_dict = MethodType(nn.Module._load_from_state_dict, network)
    return network


def counted(name: str, resolution: int | None, classes: int) -> TorchvisionSpec:
    """A classifier of torchvision's, built once to count what it costs: some seconds, and its memory.

    Args:
        name: as people write it, such as "googlenet", "GoogLeNet" or "mobilenet-v2".
        resolution: side of its images in pixels; None: what torchvision judges its weights at, such as 224.

    Raises:
        UserError: no such classifier, or one that cannot take images of that size.
    """
    name = torchvision_name(name)
    resolution = published_resolution(name) if resolution is None else resolution
    spec = TorchvisionSpec(name, resolution, classes, macs=1, params=1, activations=1)
    where = f"torchvision:{name} at {resolution} px"
    try:
        network = network_of(spec, seed=0)
        sizes = count(network, resolution)
    except (RuntimeError, ValueError, AssertionError, IndexError, ZeroDivisionError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
        raise UserError(
            where, f"the network cannot take images of this size ({reason}).",
            do=f"It is made for {published_resolution(name)} px: leave the size out, or give another.",
        ) from error  # fmt: skip
    params = sum(parameter.numel() for parameter in network.parameters())
    return TorchvisionSpec(name, resolution, classes, sizes.macs, params, sizes.activations)


def torchvision_name(name: str) -> str:
    """The name by which torchvision knows one of its classifiers. Raises UserError, with the nearest, for others."""
    from torchvision import models

    known: list[str] = models.list_models(module=models)
    written = re.sub(r"[-. ]+", "_", name.strip().lower())
    if written in known:
        return written
    alike = [one for one in known if one.replace("_", "") == written.replace("_", "")]
    if len(alike) == 1:
        return alike[0]
    near = alike or difflib.get_close_matches(written, known, 3)
    if written in models.list_models():
        problem = "torchvision has it, but not as a classifier of images whose weights are plain numbers."
    else:
        problem = "torchvision has no classifier of this name."
    do = f"Did you mean {' or '.join(near)}?" if near else "Known are, for example, resnet18, googlenet, mobilenet_v2."
    raise UserError(f"torchvision:{name}", problem, do=do)


def published_resolution(name: str) -> int:
    """Side in pixels of the images that torchvision judges a classifier's default weights at; each has some."""
    from torchvision.models import get_model_weights

    return int(get_model_weights(name).DEFAULT.transforms().crop_size[0])


def last_layer(network: nn.Module) -> tuple[str, nn.Linear | nn.Conv2d]:
    """The layer that gives the logits, and its name: the last linear layer or convolution that a network has."""
    layers: list[tuple[str, nn.Linear | nn.Conv2d]] = [
        one for one in network.named_modules() if isinstance(one[1], nn.Linear | nn.Conv2d)
    ]
    return layers[-1]
