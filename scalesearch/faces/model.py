"""A network whose classifier is an embedding: made, started, applied to photos, and kept in a file."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional

from scalesearch.data.arrays import Pixels
from scalesearch.data.batches import PixelStatistics, normalised
from scalesearch.data.source import IntArray
from scalesearch.errors import UserError
from scalesearch.faces.photos import Crowd
from scalesearch.files import write_bytes
from scalesearch.nets.modules import MBConvNet
from scalesearch.nets.weights import digest, read_safetensors, require_version, spec_network
from scalesearch.training.device import autocast
from scalesearch.training.evaluation import judging
from scalesearch.training.model_file import PIXELS, statistics_of

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


def embed(
    network: nn.Module, pixels: Pixels, statistics: PixelStatistics, device: torch.device, *, flip: bool = True
) -> FloatArray:
    """Embeddings float32 (N, D) of images uint8 (N, S, S, 3); modes are put back afterwards.

    Args:
        network: images (N, 3, S, S) → unit vectors (N, D).
        flip: average with the mirror image's embedding, and scale to length 1 again.
    """
    vectors: list[FloatArray] = []
    network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    with judging(network), torch.inference_mode():
        for images in _images(pixels, statistics, device):
            with autocast(device, "auto"):
                outputs = network(images).float()
                if flip:
                    outputs = functional.normalize(outputs + network(images.flip(-1)).float(), dim=1)
            vectors.append(outputs.cpu().numpy())
    return np.concatenate(vectors)


def _images(pixels: Pixels, statistics: PixelStatistics, device: torch.device) -> Iterator[Tensor]:
    """uint8 (N, S, S, 3) → normalised batches (B, 3, S, S)."""
    for start in range(0, len(pixels), BATCH):
        chunk = torch.from_numpy(np.ascontiguousarray(pixels[start : start + BATCH])).to(device)
        yield normalised(chunk.permute(0, 3, 1, 2), statistics)


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
            for images in _images(pixels, statistics, device):
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


FORMAT = "scalesearch-faces"
FORMAT_VERSION = 1


@dataclass(frozen=True, eq=False)
class FaceModel:
    """What makes faces into embeddings.

    Args:
        network: images (N, 3, S, S), S = ``network.spec.resolution`` → unit vectors (N, D), D = ``spec.classes``.
        statistics: how images are normalised.
        digest: 12 hex digits of the weights; a gallery notes it.
        crop: whether it was trained on faces that the detector cut out.
        trained_on: digests of the training photos' pixels, by which they are known again.
        facts: how it was trained, for people.
    """

    network: MBConvNet
    statistics: PixelStatistics
    digest: str
    crop: bool
    trained_on: frozenset[str]
    facts: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class EmbeddingSet:
    """Photos as embeddings: ``names`` of the people, ``labels`` int64 (n,), ``vectors`` float32 (n, D)."""

    names: tuple[str, ...]
    labels: IntArray
    vectors: FloatArray

    def __len__(self) -> int:
        return len(self.labels)


def embedding_set(model: FaceModel, crowd: Crowd, device: torch.device) -> EmbeddingSet:
    """A crowd's embeddings."""
    return EmbeddingSet(crowd.names, crowd.labels, embed(model.network, crowd.pixels, model.statistics, device))


def save_model(
    path: Path, network: MBConvNet, statistics: PixelStatistics, *, crop: bool, trained_on: Sequence[str],
    facts: Mapping[str, Any],
) -> str:  # fmt: skip
    """Writes an embedder without what only its training needed; returns the digest. It holds no names."""
    state = {
        name.replace("classifier.layers.", "classifier.", 1): tensor.detach().cpu().contiguous()
        for name, tensor in network.state_dict().items()
        if not name.startswith("classifier.objective.")
    }
    metadata = {
        "format": FORMAT, "format_version": str(FORMAT_VERSION), "scalesearch_version": version("scalesearch"),
        "spec": json.dumps(network.spec.to_dict()), PIXELS: json.dumps(asdict(statistics)), "crop": json.dumps(crop),
        "trained_on": json.dumps(sorted(trained_on)), "facts": json.dumps(dict(facts), allow_nan=False),
    }  # fmt: skip
    write_bytes(path, safetensors.torch.save(state, metadata))
    return digest(state)


def load_model(path: Path) -> FaceModel:
    """A model that ``save_model`` wrote, in evaluation mode on the CPU.

    Raises UserError for no file, a damaged, foreign or newer one, or tensors that are not the spec's.
    """
    if not path.exists():
        raise UserError(str(path), "there is no such file.", do="Train a model: scalesearch faces fit --data FOLDER")
    state, metadata = read_safetensors(path)
    if metadata.get("format") != FORMAT:
        kind = metadata.get("format", "without a format")
        raise UserError(str(path), f"this safetensors file ({kind}) is no face model, which faces fit writes.")
    require_version(path, metadata, FORMAT_VERSION)
    network = spec_network(path, state, metadata)
    try:
        crop, trained_on, facts = (json.loads(metadata[key]) for key in ("crop", "trained_on", "facts"))
        known = frozenset(map(str, trained_on))
        if not isinstance(facts, dict):
            raise TypeError("facts")
    except (KeyError, ValueError, TypeError, RecursionError) as error:
        raise UserError(str(path), f"its metadata are damaged ({error!r}).") from error
    model = embedder(network).eval()
    return FaceModel(model, statistics_of(metadata), digest(state), bool(crop), known, facts)
