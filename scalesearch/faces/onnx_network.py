"""A network in an ONNX file, run by onnxruntime, that makes faces into embeddings."""

import os
import re
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from scalesearch.errors import UserError
from scalesearch.faces import missing_extra

LONGEST_REASON = 400  # characters
# what a tensor says of itself that lies in a file beside, as torch.onnx writes it: an entry of protocol buffers with
# the key "location", each of two fields a tag, a length and so many bytes
LOCATION = re.compile(rb"\x0a\x08location\x12([\x01-\x7f])")


class OnnxNetwork(nn.Module):
    """An ONNX network run by onnxruntime: normalised faces (N, 3, S, S) → unit vectors (N, D). It cannot be trained.

    Args:
        path: of the file; ``size_px``: side of the faces.
        channels: in which order it takes red, green and blue.
    """

    def __init__(self, path: Path, size_px: int, channels: str) -> None:
        super().__init__()
        try:
            import onnxruntime
        except ImportError:
            raise missing_extra("onnxruntime") from None
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        try:
            self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises many kinds
            raise UserError(str(path), f"onnxruntime cannot open it ({first_line(error)}).") from None
        self.path, self.flipped = path, channels == "bgr"
        inputs, outputs = self.session.get_inputs(), self.session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1:
            problem = f"it has {len(inputs)} inputs and {len(outputs)} outputs, and a face recogniser has one of each."
            raise UserError(str(path), problem, do="Save it with the face as input and the embedding as output.")
        shape = inputs[0].shape
        if inputs[0].type != "tensor(float)" or len(shape) != 4 or 3 not in (shape[1], shape[3]):
            problem = f"its input, {inputs[0].type} {shape}, is no batch of images of three channels in 32 bits."
            raise UserError(str(path), problem)
        self.last = shape[1] != 3  # channels last
        sides = [side for side in (shape[1:3] if self.last else shape[2:]) if isinstance(side, int)]
        if any(side != size_px for side in sides):
            problem = f"it takes faces of {' × '.join(map(str, sides))} px, and its card says {size_px}."
            raise UserError(str(path), problem, do="Correct size_px in the card.")
        if isinstance(shape[0], int) and shape[0] != 1:
            problem = f"it takes batches of {shape[0]} faces, and only one by one or any number can be given."
            raise UserError(str(path), problem, do="Save it with a batch of 1, or one that may vary.")
        self.single = shape[0] == 1
        self.names = inputs[0].name, outputs[0].name

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, S, S) → (N, D), each of length 1. Raises UserError where the network cannot take them."""
        given = images.flip(1) if self.flipped else images
        given = given.permute(0, 2, 3, 1) if self.last else given
        values = np.ascontiguousarray(given.float().cpu().numpy())
        parts = [values[place : place + 1] for place in range(len(values))] if self.single else [values]
        takes, gives = self.names
        try:
            outputs = np.concatenate([self.session.run([gives], {takes: part})[0] for part in parts])
            vectors = torch.from_numpy(outputs.reshape(len(values), -1).astype(np.float32)).to(images.device)
        except Exception as error:  # of onnxruntime, or of outputs that are no array with a row a face
            raise UserError(str(self.path), f"onnxruntime cannot run it ({first_line(error)}).") from None
        return nn.functional.normalize(vectors, dim=1)


def first_line(error: Exception) -> str:
    """What a library's error says, in short."""
    return str(error).strip().partition("\n")[0][:LONGEST_REASON] or type(error).__name__


def files_beside(path: Path, content: bytes) -> list[Path]:
    """The files that hold an ONNX file's tensors, where it does not hold them itself."""
    names = {content[found.end() : found.end() + found[1][0]] for found in LOCATION.finditer(content)}
    files = (path.parent / os.fsdecode(name) for name in sorted(names) if b"\0" not in name)
    return [file for file in files if file.is_file()]
