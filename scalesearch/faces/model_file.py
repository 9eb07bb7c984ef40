"""A face model on disk: one safetensors file, the network's tensors and JSON beside them, nothing pickled."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import safetensors.torch

from scalesearch.data.batches import PixelStatistics
from scalesearch.errors import UserError
from scalesearch.faces.network import body_state, embedder
from scalesearch.files import write_bytes
from scalesearch.nets.modules import MBConvNet
from scalesearch.nets.weights import digest, read_safetensors, require_version, spec_network
from scalesearch.training.model_file import PIXELS, statistics_of

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


def save_model(
    path: Path,
    network: MBConvNet,
    statistics: PixelStatistics,
    *,
    crop: bool,
    trained_on: Sequence[str],
    facts: Mapping[str, Any],
) -> str:
    """Writes an embedder without what only its training needed; returns the digest. It holds no names."""
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in body_state(network).items()}
    metadata = {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "scalesearch_version": version("scalesearch"),
        "spec": json.dumps(network.spec.to_dict()),
        PIXELS: json.dumps(asdict(statistics)),
        "crop": json.dumps(crop),
        "trained_on": json.dumps(sorted(trained_on)),
        "facts": json.dumps(dict(facts), allow_nan=False),
    }
    write_bytes(path, safetensors.torch.save(state, metadata))
    return digest(state)


def load_model(path: Path) -> FaceModel:
    """A model that ``save_model`` wrote, in evaluation mode on the CPU.

    Raises UserError for no file, a damaged, foreign or newer one, or tensors that are not the spec's.
    """
    if not path.exists():
        raise UserError(str(path), "no such file", "a face model", "Train one: scalesearch faces fit --data FOLDER")
    state, metadata = read_safetensors(path)
    if metadata.get("format") != FORMAT:
        raise UserError(
            str(path), f"safetensors of another kind ({metadata.get('format', 'without a format')})",
            "a face model, as faces fit writes it",
        )  # fmt: skip
    require_version(path, metadata, FORMAT_VERSION)
    network = spec_network(path, state, metadata)
    try:
        crop, trained_on, facts = (json.loads(metadata[key]) for key in ("crop", "trained_on", "facts"))
        known = frozenset(map(str, trained_on))
        if not isinstance(facts, dict):
            raise TypeError("facts")
    except (KeyError, ValueError, TypeError, RecursionError) as error:
        raise UserError(str(path), f"damaged metadata ({error!r})", "a face model, as faces fit writes it") from error
    model = embedder(network).eval()
    return FaceModel(model, statistics_of(metadata), digest(state), bool(crop), known, facts)
