"""A process that builds a network, runs it, and prints what resident memory it gained: see ``peak.resident``.

Apart from what it measures it loads nothing: beside torch's, ONNX Runtime's few bytes could not be seen. Linux only.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from scalesearch.design.spec import Head, NetSpec, Stage, Stem

PASSES = 3
SMALLEST = NetSpec("smallest", 16, Stem(8), (Stage(8, 1),), Head(8), classes=2)
Pass = Callable[[Any], object]


def status(field: str) -> int:
    """Bytes of a field of /proc/self/status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def torch_pass(spec: NetSpec) -> Pass:
    """An eager pass of a network with fresh weights."""
    import torch

    from scalesearch.nets.modules import build

    network = build(spec, seed=0).eval().to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def run(images: Any) -> object:
        return network(torch.from_numpy(images))

    return run


def onnxruntime_pass(graph: Path) -> Pass:
    """A pass of a graph, one buffer at a time: without arena and pattern."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.enable_cpu_mem_arena, options.enable_mem_pattern = 1, False, False
    session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {"images": images})


def gained(run: Pass, images: Any) -> int:
    """What a pass gained at its largest; the first ones load what they need."""
    for _ in range(PASSES):
        run(images)
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    before = status("VmRSS")
    run(images)
    return status("VmHWM") - before


def images_of(spec: NetSpec, batch_size: int, channels_last: bool) -> Any:
    """Ones (N, C, H, W), in pages that are there."""
    shape = (batch_size, spec.resolution, spec.resolution, spec.in_channels)
    if channels_last:
        return np.ones(shape, np.float32).transpose(0, 3, 1, 2)
    return np.ones((batch_size, spec.in_channels, spec.resolution, spec.resolution), np.float32)


def main(runtime: str, written: str, graph: str, batch_size: str) -> None:
    """Prints bytes: of the process before it had a network, gained by the network, gained by a pass, with images."""
    spec = NetSpec.from_dict(json.loads(Path(written).read_text()))
    if runtime == "torch":
        torch_pass(SMALLEST)(images_of(SMALLEST, 1, True))  # loads the libraries
    else:
        import onnxruntime  # noqa: F401
    before = status("VmRSS")
    run = torch_pass(spec) if runtime == "torch" else onnxruntime_pass(Path(graph))
    weights = status("VmRSS") - before
    images = images_of(spec, int(batch_size), runtime == "torch")
    print(json.dumps([before, weights, images.nbytes + gained(run, images)]))


if __name__ == "__main__":
    main(*sys.argv[1:])
