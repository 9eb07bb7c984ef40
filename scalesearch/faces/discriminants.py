"""Where the embedding layer of an ImageNet network starts: at the directions that tell the training people apart."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from scalesearch.data.arrays import Pixels
from scalesearch.data.batches import PixelStatistics
from scalesearch.data.source import IntArray
from scalesearch.errors import UserError
from scalesearch.faces.model import images_of
from scalesearch.nets.modules import MBConvNet
from scalesearch.training.evaluation import judging

# Where the embedding layer starts: at the directions that tell the training people apart (Fisher 1936; Rao 1948). A
# random layer throws ImageNet's features together; linear discriminant analysis of them, in closed form and in seconds,
# already is an embedding that carries over to other people, and training goes on from there.
SHRINKAGE = 1.0  # share of the covariance's mean within people that is added to each axis (measured, reports/LOG.md)

Matrix = npt.NDArray[np.float64]


def last_linear(network: MBConvNet) -> nn.Linear:
    """The layer that makes a network's outputs. Raises UserError where its classifier has no linear layer."""
    layers = [module for module in network.classifier.modules() if isinstance(module, nn.Linear)]
    if not layers:
        raise UserError(f"network {network.spec.name}", "its classifier has no linear layer, which makes embeddings.")
    return layers[-1]


def pooled(network: MBConvNet, pixels: Pixels, statistics: PixelStatistics, device: torch.device) -> Matrix:
    """What the last linear layer is given, for images uint8 (N, S, S, 3): float64 (N, C); modes are put back."""
    given: list[Matrix] = []

    def keep(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        given.append(inputs[0].double().cpu().numpy())

    handle = last_linear(network).register_forward_pre_hook(keep)
    network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    try:
        with judging(network), torch.no_grad():
            for images in images_of(pixels, statistics, device):
                network(images)
    finally:
        handle.remove()
    return np.concatenate(given)


def discriminants(features: Matrix, labels: IntArray, dimensions: int) -> tuple[Matrix, Matrix]:
    """Weights (D, C) and bias (D,): features whitened within people, then the main axes between people.

    The embeddings' mean is 0 and their total variance 1. Where there are fewer than D axes between people (people less
    one), the others are axes of what is left, so that no dimension is empty.

    Args:
        features: (N, C).
        labels: int64 (N,), places 0, 1, … of the people.
    """
    mean = features.mean(0)
    centred = features - mean
    counts = np.bincount(labels)
    means = np.stack([np.bincount(labels, column) for column in centred.T], axis=1) / counts[:, None]
    within = centred - means[labels]
    covariance = within.T @ within / len(features)
    covariance += SHRINKAGE * np.trace(covariance) / len(covariance) * np.eye(len(covariance)) + 1e-12 * np.eye(
        len(covariance)
    )
    whiten = np.linalg.inv(np.linalg.cholesky(covariance)).T  # (C, C): centred @ whiten has variance 1 within people
    _, _, axes = np.linalg.svd(np.sqrt(counts)[:, None] * (means @ whiten), full_matrices=False)
    axes = axes[: min(dimensions, len(counts) - 1)]
    if len(axes) < dimensions:
        rest = centred @ whiten
        rest -= rest @ axes.T @ axes
        _, _, more = np.linalg.svd(rest, full_matrices=False)
        axes = np.concatenate((axes, more[: dimensions - len(axes)]))
    weights = (whiten @ axes.T).T
    weights /= np.sqrt((centred @ weights.T).var(0).sum()) + 1e-12
    return weights, -(weights @ mean)


@torch.no_grad()
def set_embedding(network: MBConvNet, weights: Matrix, bias: Matrix) -> None:
    """Puts discriminants into the last linear layer of a network's classifier; fewer than it has leave the rest."""
    layer = last_linear(network)
    layer.weight[: len(weights)] = torch.from_numpy(weights).to(layer.weight)
    own: Tensor | None = layer.bias
    if own is not None:
        own[: len(bias)] = torch.from_numpy(bias).to(own)
