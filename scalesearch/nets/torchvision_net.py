"""torchvision's own classifiers, beside the networks that a spec describes."""

import torch
from torch import nn
from torchvision.models import get_model

from scalesearch.design.spec import Architecture, NetSpec, TorchvisionSpec
from scalesearch.nets.modules import build


def network_of(spec: Architecture, seed: int | None = None) -> nn.Module:
    """The network of a spec, freshly initialised, in training mode; ``seed`` as for ``modules.build``."""
    if isinstance(spec, NetSpec):
        return build(spec, seed)
    if seed is None:
        return _made(spec)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return _made(spec)


def counted(name: str, resolution: int | None, classes: int) -> TorchvisionSpec:
    raise NotImplementedError


def _made(spec: TorchvisionSpec) -> nn.Module:
    network: nn.Module = get_model(spec.name, weights=None, num_classes=spec.classes)
    return network
