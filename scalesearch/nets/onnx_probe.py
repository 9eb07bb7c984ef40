"""ONNX graphs of networks that are to be timed, written in milliseconds.

They hold the operators that ``nets.export`` writes, batch norms folded, as a test compares. The weights of all of them
are the first bytes of one file of random numbers beside them, so that a folder of hundreds of networks stays small.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from scalesearch.design.blocks import LINEAR, block_layers
from scalesearch.design.cost import output_size
from scalesearch.design.spec import POOL_STRIDE, RESNET_BLOCKS, Activation, NetSpec, Stage, shortcut_of
from scalesearch.nets.modules import same_padding

OPSET, IR_VERSION = 20, 10  # what torch.onnx.export writes
WEIGHTS_FILE = "weights.bin"
MEAN_AXES = (-1, -2)


@dataclass
class Graph:
    """A graph while it grows; ``largest`` is the most bytes that one of its tensors takes of the file of weights."""

    spec: NetSpec
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    tensors: list[TensorProto] = field(default_factory=list)
    largest: int = 0

    def add(self, kind: str, *inputs: str, **settings: Any) -> str:
        """A node; returns the name of what it gives."""
        name = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **settings))
        return name

    def weights(self, *shape: int) -> str:
        """A tensor of random numbers."""
        size = 4 * int(np.prod(shape))
        tensor = TensorProto(
            name=f"weights_{len(self.tensors)}", data_type=TensorProto.FLOAT, dims=shape,
            data_location=TensorProto.EXTERNAL,
        )  # fmt: skip
        for key, value in (("location", WEIGHTS_FILE), ("offset", "0"), ("length", str(size))):
            tensor.external_data.append(onnx.StringStringEntryProto(key=key, value=value))
        self.tensors.append(tensor)
        self.largest = max(self.largest, size)
        return tensor.name

    def constant(self, kind: int, values: Sequence[float], *shape: int) -> str:
        """A tensor of given values."""
        tensor = helper.make_tensor(f"constant_{len(self.tensors)}", kind, shape, values)
        self.tensors.append(tensor)
        return tensor.name

    def zeros(self, width: int) -> str:
        """Biases: zeros, so that black images stay black and no number overflows or becomes denormal."""
        return self.constant(TensorProto.FLOAT, [0.0] * width, width)

    def convolution(
        self, images: str, width_in: int, width: int, kernel: int = 1, stride: int = 1, groups: int = 1, side: int = 0
    ) -> str:
        """A convolution with bias; ``side`` of its input counts where it is padded as TensorFlow's SAME."""
        pads = [(kernel - 1) // 2] * 4
        if side and self.spec.padding == "same" and stride > 1:
            before, after = same_padding(side, kernel, stride)
            around = self.constant(TensorProto.INT64, [0, 0, before, before, 0, 0, after, after], 8)
            images, pads = self.add("Pad", images, around), [0] * 4
        weights = self.weights(width, width_in // groups, kernel, kernel)
        return self.add(
            "Conv", images, weights, self.zeros(width), group=groups, pads=pads, strides=[stride] * 2,
            kernel_shape=[kernel] * 2,
        )  # fmt: skip

    def activation(self, images: str, name: Activation) -> str:
        """An activation, as torch's exporter writes it."""
        match name:
            case "silu":
                return self.add("Mul", images, self.add("Sigmoid", images))
            case "relu":
                return self.add("Relu", images)
            case "hardswish":
                return self.add("HardSwish", images)
            case "relu6":
                bounds = [self.constant(TensorProto.FLOAT, [bound]) for bound in (0.0, 6.0)]
                return self.add("Clip", images, *bounds)

    def pooled(self, images: str) -> str:
        """The mean of each channel, one pixel."""
        return self.add("ReduceMean", images, self.constant(TensorProto.INT64, MEAN_AXES, 2), keepdims=1)

    def linear(self, features: str, width_in: int, width: int) -> str:
        """A linear layer with bias."""
        return self.add("Gemm", features, self.weights(width, width_in), self.zeros(width), transB=1)

    def block(self, images: str, stage: Stage, width_in: int, stride: int, size: int) -> str:
        """A block of a stage; ``size`` is the side of its input."""
        function = stage.activation or self.spec.activation
        branch, shortcut, side, gated = images, images, size, ""
        for layer in block_layers(stage, width_in, stride):
            if layer.role == "squeeze":
                squeezed = self.convolution(self.pooled(branch), layer.width_in, layer.width)
                gated = self.activation(squeezed, "relu" if stage.squeeze == "mobilenet_v3" else function)
            elif layer.role == "excite":
                opened = self.convolution(gated, layer.width_in, layer.width)
                hard = stage.squeeze == "mobilenet_v3"
                gate = self.add("HardSigmoid", opened, alpha=1 / 6, beta=0.5) if hard else self.add("Sigmoid", opened)
                branch = self.add("Mul", gate, branch)
            elif layer.role == "shortcut":
                shortcut = self.convolution(images, layer.width_in, layer.width, 1, layer.stride, side=size)
            else:
                groups = layer.width if layer.role == "depthwise" else 1
                branch = self.convolution(
                    branch, layer.width_in, layer.width, layer.kernel, layer.stride, groups, side
                )  # fmt: skip
                side = output_size(side, layer.stride)
                if layer.role not in LINEAR:
                    branch = self.activation(branch, function)
        if shortcut_of(stage, width_in, stride) != "none":
            branch = self.add("Add", branch, shortcut)
        return self.activation(branch, self.spec.activation) if stage.block in RESNET_BLOCKS else branch


def onnx_graph(spec: NetSpec) -> tuple[bytes, int]:
    """A network's ONNX file for any batch size, and the most bytes that a tensor takes of the file of weights."""
    graph, images = Graph(spec), "images"
    stem, head, side = spec.stem, spec.head, spec.resolution
    images = graph.convolution(images, spec.in_channels, stem.width, stem.kernel, stem.stride, side=side)
    images, side, width_in = graph.activation(images, spec.activation), output_size(side, stem.stride), stem.width
    if stem.max_pool:
        images = graph.add("MaxPool", images, kernel_shape=[3, 3], strides=[POOL_STRIDE] * 2, pads=[1] * 4)
        side = output_size(side, POOL_STRIDE)
    for stage in spec.stages:
        for index in range(stage.depth):
            stride = stage.stride if index == 0 else 1
            images = graph.block(images, stage, width_in, stride, side)
            side, width_in = output_size(side, stride), stage.width
    if head.width:
        images = graph.activation(graph.convolution(images, width_in, head.width), spec.activation)
    shape = graph.constant(TensorProto.INT64, [-1, spec.pooled_width], 2)
    features = graph.add("Reshape", graph.pooled(images), shape, allowzero=1)
    if head.hidden:
        features = graph.activation(graph.linear(features, spec.pooled_width, head.hidden), spec.activation)
    logits = graph.linear(features, head.hidden or spec.pooled_width, spec.classes)
    given = helper.make_tensor_value_info(
        "images", TensorProto.FLOAT, ["batch", spec.in_channels, spec.resolution, spec.resolution]
    )
    result = helper.make_tensor_value_info(logits, TensorProto.FLOAT, ["batch", spec.classes])
    made = helper.make_graph(graph.nodes, spec.name, [given], [result], graph.tensors)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    content: bytes = model.SerializeToString()
    return content, graph.largest
