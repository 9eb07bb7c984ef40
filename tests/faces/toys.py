"""A tiny embedder shared by the tests of faces."""

from dataclasses import replace

import torch

from scalesearch.data.batches import IMAGENET_STATISTICS
from scalesearch.design.space import load_space
from scalesearch.design.spec import NetSpec
from scalesearch.faces.model import embedder
from scalesearch.nets.modules import MBConvNet, build

CPU = torch.device("cpu")
STATISTICS = IMAGENET_STATISTICS
DIMENSIONS = 8


def tiny_spec(dimensions: int = DIMENSIONS) -> NetSpec:
    """mbconv_small at 24 px."""
    return replace(load_space("mbconv_small").baseline, resolution=24, classes=dimensions)


def tiny_embedder(seed: int = 0) -> MBConvNet:
    """Untrained."""
    return embedder(build(tiny_spec(), seed=seed))
