"""A network whose classifier is an embedding: made, applied to photos, and kept in a file."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

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
from scalesearch.faces.detection import CLOSE_EYES, EYES, POINTS, Template
from scalesearch.faces.photos import Chooser, Crowd, most_alike
from scalesearch.files import PRIVATE, with_sorted_metadata, write_bytes
from scalesearch.nets.face_resnet import DIMENSIONS, FaceResNet
from scalesearch.nets.identify import listed, misfits
from scalesearch.nets.modules import MBConvNet
from scalesearch.nets.weights import digest, read_safetensors, require_version, spec_network
from scalesearch.training.device import autocast
from scalesearch.training.evaluation import judging
from scalesearch.training.model_file import statistics_of
from scalesearch.typed import parse, shown

FloatArray = npt.NDArray[np.float32]
BATCH = 128
LARGEST_NUMBER = 1e4
FARTHEST = 2.0  # of a template's points, as shares of the side: who writes pixels is far beyond
LENGTH_ERROR = 1e-3
SMALLEST_PX, LARGEST_PX = 16, 4096


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


Network = TypeVar("Network", bound=MBConvNet | FaceResNet)


def embedder(network: Network, objective: nn.Module | None = None) -> Network:
    """``network``, changed in place: what its classifier gives becomes a unit vector of as many numbers."""
    network.classifier = EmbeddingHead(network.classifier, objective)
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
        for images in images_of(pixels, statistics, device):
            with autocast(device, "auto"):
                outputs = network(images).float()
                if flip:
                    outputs = functional.normalize(outputs + network(images.flip(-1)).float(), dim=1)
            vectors.append(outputs.cpu().numpy())
    return np.concatenate(vectors)


def images_of(pixels: Pixels, statistics: PixelStatistics, device: torch.device) -> Iterator[Tensor]:
    """uint8 (N, S, S, 3) → normalised batches (B, 3, S, S)."""
    for start in range(0, len(pixels), BATCH):
        chunk = torch.from_numpy(np.array(pixels[start : start + BATCH], order="C")).to(device)  # torch wants its own
        yield normalised(chunk.permute(0, 3, 1, 2), statistics)


FORMAT = "scalesearch-faces"
FORMAT_VERSION = 2  # 1 had no card: a network of a spec, its faces cut by the eyes alone


@dataclass(frozen=True)
class Card:
    """What a body is given, and where it comes from.

    Args:
        name: what it is called.
        size_px: side of the faces that it is given.
        statistics: how their pixels are normalised.
        template: where eyes, nose and mouth lie on them.
        licence: what its weights may be used for, or where that is said.
        source: who made it, of what.
        same_person: squared distance below which two photos show one person, at one wrong pair in a thousand; None
            where nobody has measured it.
    """

    name: str
    size_px: int
    statistics: PixelStatistics
    template: Template
    licence: str = ""
    source: str = ""
    same_person: float | None = None


@dataclass(frozen=True, eq=False)
class FaceModel:
    """What makes faces into embeddings.

    Args:
        network: normalised faces (N, 3, S, S), S = ``card.size_px`` → unit vectors (N, ``dimensions``).
        digest: 12 hex digits of the weights and of what they are given; a gallery notes it.
        crop: whether it expects faces that the detector cut out.
        trained_on: digests of the training photos' pixels, by which they are known again, where it was trained here.
        facts: how it was trained, for people.
    """

    network: nn.Module
    card: Card
    dimensions: int
    digest: str
    crop: bool = True
    trained_on: frozenset[str] = frozenset()
    facts: Mapping[str, Any] = field(default_factory=dict)

    def vectors(self, pixels: Pixels, device: torch.device) -> FloatArray:
        """Embeddings float32 (N, D) of faces uint8 (N, S, S, 3), each averaged with its mirror image's.

        Raises UserError where the network gives no vector of length 1: weights that are not finite, or a face on which
        all that it computes is 0.
        """
        if not len(pixels):
            return np.zeros((0, self.dimensions), np.float32)
        vectors = embed(self.network, pixels, self.card.statistics, device)
        sound = np.abs(np.linalg.norm(vectors, axis=1) - 1) < LENGTH_ERROR
        if not sound.all():
            problem = f"it gives no finite numbers other than 0 for {(~sound).sum()} of {len(pixels)} faces."
            raise UserError(f"body {self.card.name}", problem, do="Its weights are damaged, or its card is wrong.")
        return vectors

    def chooser(self, device: torch.device) -> Chooser:
        """Which face of a photo is the person's: the one most like those on their other photos."""
        return lambda pixels, labels, photos: most_alike(self.vectors(pixels, device), labels, photos)


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
    return EmbeddingSet(crowd.names, crowd.labels, model.vectors(crowd.pixels, device))


def model_digest(weights: str, card: Card) -> str:
    """12 hex digits: the same weights, given faces cut in another way, make embeddings that mean nothing to these."""
    given = json.dumps([weights, card.size_px, asdict(card.statistics), card.template.points])
    return hashlib.sha256(given.encode()).hexdigest()[:12]


def save_model(
    path: Path, network: nn.Module, card: Card, *, crop: bool, trained_on: Sequence[str], facts: Mapping[str, Any]
) -> str:
    """Writes an embedder without what only its training needed; returns the digest. It holds no names of people, and
    only its owner may read it."""
    state = {
        name.replace("classifier.layers.", "classifier.", 1): tensor.detach().cpu().contiguous()
        for name, tensor in network.state_dict().items()
        if not name.startswith("classifier.objective.")
    }
    spec = network.spec.to_dict() if isinstance(network, MBConvNet) else None
    metadata = {
        "format": FORMAT, "format_version": str(FORMAT_VERSION), "scalesearch_version": version("scalesearch"),
        "spec": json.dumps(spec), "card": json.dumps(asdict(card)), "crop": json.dumps(crop),
        "trained_on": json.dumps(sorted(trained_on)), "facts": json.dumps(dict(facts), allow_nan=False),
    }  # fmt: skip
    write_bytes(path, with_sorted_metadata(safetensors.torch.save(state, metadata)), PRIVATE)
    return model_digest(digest(state), card)


def load_model(path: Path) -> FaceModel:
    """A model that ``save_model`` wrote, in evaluation mode on the CPU.

    Raises UserError for no file, a damaged, foreign or newer one, or tensors that are not the network's.
    """
    if not path.exists():
        raise UserError(str(path), "there is no such file.", do="Train a model: scalesearch faces fit --data FOLDER")
    state, metadata = read_safetensors(path)
    if metadata.get("format") != FORMAT:
        kind = metadata.get("format", "without a format")
        raise UserError(str(path), f"this safetensors file ({kind}) is no face model, which faces fit writes.")
    require_version(path, metadata, FORMAT_VERSION)
    if metadata.get("spec") == "null" and metadata["format_version"] != "1":
        network: nn.Module = embedder(face_resnet(path, state))
        dimensions = len(state["classifier.weight"])
    else:
        built = spec_network(path, state, metadata)
        dimensions, network = built.spec.classes, embedder(built)
    try:
        crop, trained_on, facts = (json.loads(metadata[key]) for key in ("crop", "trained_on", "facts"))
        if not (isinstance(trained_on, list) and all(isinstance(one, str) for one in trained_on)):
            raise TypeError("trained_on should be a list of digests")
        if not isinstance(facts, dict) or not isinstance(crop, bool):
            raise TypeError("facts should be a table, crop true or false")
        card = _card(path, network, metadata)
        if isinstance(network, MBConvNet) and card.size_px != network.spec.resolution:
            raise ValueError(f"faces of {card.size_px} px for a network that takes {network.spec.resolution} px")
    except (KeyError, ValueError, TypeError, RecursionError, UserError) as error:
        raise UserError(str(path), f"its metadata are damaged ({error!r}).") from error
    weights = digest(state)
    own = weights if metadata["format_version"] == "1" else model_digest(weights, card)
    return FaceModel(network.eval(), card, dimensions, own, crop, frozenset(trained_on), facts)


def _card(path: Path, network: nn.Module, metadata: dict[str, str]) -> Card:
    if metadata["format_version"] == "1":
        assert isinstance(network, MBConvNet)
        return Card(network.spec.name, network.spec.resolution, statistics_of(metadata), CLOSE_EYES)
    card = parse(Card, json.loads(metadata["card"]), str(path), "a face model")
    check_card(card, str(path))
    return card


def check_card(card: Card, where: str) -> None:
    """Raises UserError where a card's numbers cannot be used."""
    numbers = (*card.statistics.mean, *card.statistics.std)
    if not all(abs(value) < LARGEST_NUMBER for value in numbers) or min(card.statistics.std) <= 0:
        raise UserError(where, "its pixel statistics are no finite numbers, deviations above 0.")
    if not SMALLEST_PX <= card.size_px <= LARGEST_PX:
        raise UserError(where, f"a face of {shown(card.size_px)} px is not between {SMALLEST_PX} and {LARGEST_PX} px.")
    points = card.template.points
    if len(points) not in (0, EYES, len(POINTS)):
        raise UserError(
            where, f"its template has {len(points)} points.",
            do="Give two (the eyes), five (eyes, nose, corners of the mouth), or none for the detector's box.",
        )  # fmt: skip
    if not all(abs(value) <= FARTHEST for point in points for value in point):
        raise UserError(where, "its template is not in shares of the side: from 0 at the left and top to 1.")
    if points and not points[0][0] < points[1][0]:
        problem = "its template's first eye is not left of the second."
        raise UserError(where, problem, do="Name the eye at the left first.")
    if card.same_person is not None and not 0 < card.same_person < 4:
        problem = f"same_person is {shown(card.same_person)}, not a squared distance between 0 and 4."
        raise UserError(where, problem)


def face_resnet(path: Path, state: Mapping[str, Tensor]) -> FaceResNet:
    """The face body with these tensors. Raises UserError where they are not its own."""
    last = state.get("classifier.weight")
    dimensions = len(last) if last is not None and last.ndim == 2 else DIMENSIONS
    with torch.device("meta"):
        network = FaceResNet(dimensions)
    if problems := misfits(network.state_dict(), state):
        raise UserError(str(path), f"its tensors do not fit the face body: {listed(problems)}.")
    network = network.to_empty(device="cpu")
    network.load_state_dict(dict(state))
    return network
