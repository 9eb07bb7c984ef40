"""A body that knows the synthetic people of ``tests.faces.conftest`` by their blocks: an ONNX network and its card."""

from pathlib import Path

import onnx
from onnx import TensorProto, helper

from tests.faces.conftest import SIDE

CARD = """weights = "blocks.onnx"
size_px = 24
mean = [0, 0, 0]
std = [255, 255, 255]
template = "box"
licence = "ours"
"""
SAME_PERSON = 0.1


def blocks_body(folder: Path, known: bool = True) -> Path:
    """Writes the body, and says at its card how near photos of one person are where ``known``; returns the card."""
    folder.mkdir(parents=True, exist_ok=True)
    faces = helper.make_tensor_value_info("faces", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])
    vectors = helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["n", 3 * 16])
    nodes = [
        helper.make_node("AveragePool", ["faces"], ["blocks"], kernel_shape=[6, 6], strides=[6, 6]),
        helper.make_node("ReduceMean", ["blocks"], ["light"], axes=[2, 3], keepdims=1),
        helper.make_node("Div", ["blocks", "light"], ["even"]),
        helper.make_node("Constant", [], ["one"], value_float=1.0),
        helper.make_node("Sub", ["even", "one"], ["centred"]),
        helper.make_node("Flatten", ["centred"], ["vectors"]),
    ]
    model = helper.make_model(
        helper.make_graph(nodes, "blocks", [faces], [vectors]), opset_imports=[helper.make_opsetid("", 13)]
    )
    model.ir_version = 8
    onnx.save(model, folder / "blocks.onnx")
    card = folder / "blocks.toml"
    card.write_text(CARD + (f"same_person = {SAME_PERSON}\n" if known else ""))
    return card
