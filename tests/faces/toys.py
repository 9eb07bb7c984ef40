"""A tiny embedder shared by the tests of faces."""

from dataclasses import replace

import torch

from scalesearch.data.batches import IMAGENET_STATISTICS
from scalesearch.design.space import load_space
from scalesearch.design.spec import NetSpec
from scalesearch.faces.detection import CLOSE
from scalesearch.faces.model import Card, FaceModel, embedder
from scalesearch.nets.modules import MBConvNet, build

CPU = torch.device("cpu")
STATISTICS = IMAGENET_STATISTICS
DIMENSIONS = 8
CARD = Card("tiny", 24, STATISTICS, CLOSE)


def tiny_spec(dimensions: int = DIMENSIONS) -> NetSpec:
    """mbconv_small at 24 px."""
    return replace(load_space("mbconv_small").baseline, resolution=24, classes=dimensions)


def tiny_embedder(seed: int = 0) -> MBConvNet:
    """Untrained."""
    return embedder(build(tiny_spec(), seed=seed))


def tiny_model(seed: int = 0) -> FaceModel:
    """An untrained body for whole photos of 24 px."""
    return FaceModel(tiny_embedder(seed).eval(), CARD, DIMENSIONS, f"tiny{seed}", crop=False)
