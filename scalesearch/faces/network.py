"""A network whose classifier is replaced by an embedding, and images made into embeddings."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from scalesearch.data.arrays import Pixels
from scalesearch.data.batches import PixelStatistics, normalised
from scalesearch.nets.modules import MBConvNet
from scalesearch.training.device import autocast

FloatArray = npt.NDArray[np.float32]
BATCH = 128


class EmbeddingHead(nn.Module):
    """Stands where the classifier stood: pooled features (N, C) → unit vectors (N, D).

    Args:
        layers: pooled features (N, C) → (N, D); the body's own classifier, made for D outputs.
        objective: what only training needs (a loss with weights of its own). It is held here so that it is trained
            with the head and goes on from a checkpoint; a model file leaves it out.
    """

    def __init__(self, layers: nn.Module, objective: nn.Module | None = None) -> None:
        super().__init__()
        self.layers = layers
        self.objective = objective

    def forward(self, features: Tensor) -> Tensor:
        """(N, C) → (N, D), each of length 1."""
        return functional.normalize(self.layers(features).float(), dim=1)


def embedder(network: MBConvNet, objective: nn.Module | None = None) -> MBConvNet:
    """``network``, changed in place: its ``spec.classes`` logits become a unit vector of as many numbers."""
    network.classifier = EmbeddingHead(network.classifier, objective)  # type: ignore[assignment]
    return network


def body_state(network: MBConvNet) -> dict[str, Tensor]:
    """The tensors of an embedder under the names of the network it was made from, without the objective's."""
    prefix = "classifier.layers."
    return {
        name.replace(prefix, "classifier.", 1): tensor
        for name, tensor in network.state_dict().items()
        if not name.startswith("classifier.objective.")
    }


def embed(
    network: nn.Module, pixels: Pixels, statistics: PixelStatistics, device: torch.device, *, flip: bool = True
) -> FloatArray:
    """Embeddings float32 (N, D) of images uint8 (N, S, S, 3); modes are put back afterwards.

    Args:
        network: images (N, 3, S, S) → unit vectors (N, D).
        flip: average with the mirror image's embedding, and scale to length 1 again.
    """
    modes = [(module, module.training) for module in network.modules()]
    network.to(device=device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    try:
        parts = list(_embedded(network, pixels, statistics, device, flip))
    finally:
        for module, mode in modes:
            module.training = mode
    return np.concatenate(parts)


@torch.inference_mode()
def _embedded(
    network: nn.Module, pixels: Pixels, statistics: PixelStatistics, device: torch.device, flip: bool
) -> Iterator[FloatArray]:
    for start in range(0, len(pixels), BATCH):
        chunk = torch.from_numpy(np.ascontiguousarray(pixels[start : start + BATCH])).to(device).permute(0, 3, 1, 2)
        images = normalised(chunk, statistics)
        with autocast(device, "auto"):
            found = network(images).float()
            if flip:
                found = functional.normalize(found + network(images.flip(-1)).float(), dim=1)
        yield found.cpu().numpy()
