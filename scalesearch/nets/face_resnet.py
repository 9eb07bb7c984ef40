"""The ResNet-29 of dlib that makes a face into 128 numbers, and a reader of the file that its weights come in.

Network and weights: Davis King, dlib-models, ``dlib_face_recognition_resnet_model_v1.dat``, in the public domain. A
scale and shift (a folded batch norm) follows each of its convolutions; here they are folded into it. After He et al.
2016 (arXiv:1512.03385), with three differences: a block that halves the image pads nothing, its shortcut is an average
pool, and where branch and shortcut differ in size or channels the smaller is filled up with zeros.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from scalesearch.errors import UserError
from scalesearch.files import read_bytes
from scalesearch.nets.modules import Repeated

SIZE_PX, DIMENSIONS = 150, 128
STEM, STEM_KERNEL = 32, 7
GROUPS = ((32, 3), (64, 4), (128, 3), (256, 3), (256, 1))  # width, blocks; all but the first halve the image
LARGEST_FILE = 64 << 20  # bytes; the file has 22 million
TENSOR_VERSION = 2
LONGEST_SETTINGS = 400  # bytes between two tensors; the file has at most 352


class FaceBlock(Repeated):
    """Two convolutions beside a shortcut: (N, C, H, W) → (N, C', H, W), or about half the size where it halves."""

    def __init__(self, width_in: int, width: int, *, halves: bool) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(width_in, width, 3, 2, 0) if halves else nn.Conv2d(width_in, width, 3, 1, 1)
        self.combine = nn.Conv2d(width, width, 3, 1, 1)
        self.halves = halves

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W) → (N, C', H', W')."""
        branch = self.combine(functional.relu(self.reduce(input)))
        shortcut = functional.avg_pool2d(input, 2, 2) if self.halves else input
        sides = tuple(map(max, branch.shape[1:], shortcut.shape[1:]))
        return functional.relu(_filled(branch, sides) + _filled(shortcut, sides))


def _filled(images: Tensor, sides: Sequence[int]) -> Tensor:
    """(N, C, H, W) with zeros behind the last channel, row and column, up to ``sides``."""
    short = [side - own for side, own in zip(sides, images.shape[1:], strict=True)]
    return functional.pad(images, (0, short[2], 0, short[1], 0, short[0])) if any(short) else images


class FaceResNet(nn.Module):
    """Faces (N, 3, 150, 150), (x − mean) / 256 of 0 to 255, eyes at dlib's places → (N, dimensions), not normalised.

    Named as the networks of specs: ``features`` in sections, ``classifier``.
    """

    def __init__(self, dimensions: int = DIMENSIONS) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Sequential(nn.Conv2d(3, STEM, STEM_KERNEL, 2, 0), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2))
        )
        width_in = STEM
        for number, (width, blocks) in enumerate(GROUPS):
            for block in range(blocks):
                self.features.append(FaceBlock(width_in, width, halves=number > 0 and block == 0))
                width_in = width
        self.classifier: nn.Module = nn.Linear(width_in, dimensions, bias=False)

    def forward_features(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) → the map that is pooled, (N, 256, h, w)."""
        features: Tensor = self.features(images)
        return features

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """That map → (N, dimensions), or with ``pre_logits`` what the last layer reads, (N, 256)."""
        pooled = x.mean((2, 3))
        outputs: Tensor = pooled if pre_logits else self.classifier(pooled)
        return outputs

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) → (N, dimensions)."""
        return self.forward_head(self.forward_features(images))


def read_dlib(path: Path) -> dict[str, Tensor]:
    """The state of a ``FaceResNet`` from a file that dlib wrote, its scales and shifts folded into the convolutions.

    The file holds the tensors from input to output, each after a version and four sizes, and layers' settings between
    them, which are passed over.

    Raises UserError where it is no such file.
    """
    tensors = _Tensors(path)
    with torch.device("meta"):
        layers = dict(FaceResNet().named_modules())
    state: dict[str, Tensor] = {}
    for name, layer in layers.items():
        if isinstance(layer, nn.Conv2d):
            values = tensors.next(layer.weight.numel() + layer.out_channels)
            weight, bias = values[: -layer.out_channels], values[-layer.out_channels :]
            scale, shift = tensors.next(2 * layer.out_channels).reshape(2, -1)
            folded = weight.reshape(layer.weight.shape) * scale[:, None, None, None]
            state[f"{name}.weight"] = torch.from_numpy(folded)
            state[f"{name}.bias"] = torch.from_numpy(bias * scale + shift)
    last = layers["classifier"]
    assert isinstance(last, nn.Linear)
    state["classifier.weight"] = torch.from_numpy(
        tensors.next(last.in_features, last.out_features).reshape(last.in_features, -1).T.copy()
    )
    return state


class _Tensors:
    """The tensors of a dlib file in order, each found by the sizes that it must have."""

    def __init__(self, path: Path) -> None:
        self.path, self.content, self.place = path, read_bytes(path, "a face recogniser of dlib", LARGEST_FILE), 0

    def next(self, *sizes: int) -> np.ndarray:
        """The next tensor of these sizes, float32, flat; a copy."""
        header = b"".join(_integers((TENSOR_VERSION, *sizes, *(1,) * (4 - len(sizes)))))
        start = self.content.find(header, self.place, self.place + LONGEST_SETTINGS)
        end = start + len(header) + 4 * math.prod(sizes)
        if start < 0 or end > len(self.content):
            problem = f"this is no face recogniser of dlib: it holds no tensor of {' × '.join(map(str, sizes))} values."
            raise UserError(str(self.path), problem, do="Give dlib_face_recognition_resnet_model_v1.dat.")
        self.place = end
        values = np.frombuffer(self.content, "<f4", math.prod(sizes), start + len(header)).astype(np.float32)
        if not np.isfinite(values).all():
            raise UserError(str(self.path), "the file is damaged: some of its values are not finite.")
        return values


def _integers(values: Sequence[int]) -> Iterator[bytes]:
    """As dlib writes whole numbers: how many bytes, then those, lowest first."""
    for value in values:
        size = (value.bit_length() + 7) // 8
        yield bytes([size]) + value.to_bytes(size, "little")
