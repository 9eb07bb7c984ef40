"""Peak inference memory, measured: the twin of ``design.memory``.

Instruments that share nothing:

- ``torch_live``: torch's allocator tells the profiler of every buffer that it gives and takes back, those of oneDNN's
  kernels among them; the largest running sum is the peak. Exact.
- ``onnxruntime_live``: the statistics of ONNX Runtime's arena, which newer versions write into a profile after every
  operator; what is asked of the arena, without what the arena rounds up. Exact.
- ``resident``: what the kernel saw, in a process of its own where the C library gives every larger buffer pages of its
  own and takes them back at once: the largest resident memory of a pass (VmHWM) less that before. It sees what
  allocators do not tell, to within some hundred kB. Linux only.
"""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from scalesearch.design.spec import NetSpec
from scalesearch.nets.export import WAYS
from scalesearch.nets.modules import MBConvNet, build

THREADS = 2  # which kernel torch takes for a convolution depends on whether there is more than one
PAGES = {"MALLOC_MMAP_THRESHOLD_": "16384", "MALLOC_TRIM_THRESHOLD_": "0", "MALLOC_MMAP_MAX_": "1000000"}


class NoStatistics(Exception):  # noqa: N818 (says what happened)
    """This version of ONNX Runtime does not write its arena's statistics into a profile."""


def torch_live(spec: NetSpec, batch_size: int = 1) -> int:
    """The most bytes of activations that are alive in an eager pass on the CPU, the images among them."""
    network: MBConvNet = build(spec, seed=0).eval().to(memory_format=torch.channels_last)
    images = _images(spec, batch_size).contiguous(memory_format=torch.channels_last)
    threads = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    try:
        return images.untyped_storage().nbytes() + _allocated(network, images)
    finally:
        torch.set_num_threads(threads)


def onnxruntime_live(graph: bytes, spec: NetSpec, batch_size: int = 1) -> int:
    """The most bytes of activations that are alive in a pass of ONNX Runtime on the CPU, the images among them: one
    buffer at a time, as with its memory pattern off; ``onnxruntime_held`` says what it takes at its defaults.

    Args:
        graph: of the network, as ``onnx_graph`` makes it.

    Raises:
        NoStatistics: an older ONNX Runtime.
    """
    images = _images(spec, batch_size)
    rows = _profile(graph, images, passes=1, pattern=False)
    given = rows[0]["mem_bytes_requested_in_use"] - rows[0]["mem_requested_in_use_delta"]
    return images.nbytes + max(row["mem_bytes_requested_in_use"] for row in rows) - given


def onnxruntime_held(graph: bytes, spec: NetSpec, batch_size: int = 1) -> int:
    """Bytes that ONNX Runtime's arena holds at its defaults after some passes, the images among them.

    It grows by doubling and keeps what it has; from the second pass on it holds a plan of its own, besides.
    """
    images = _images(spec, batch_size)
    rows = _profile(graph, images, passes=3, pattern=True)
    given = rows[0]["mem_bytes_in_use"] - rows[0]["mem_in_use_delta"]
    return images.nbytes + max(row["mem_arena_held"] for row in rows) - given


def onnx_graph(spec: NetSpec) -> bytes:
    """The network's exported graph, with fresh weights; needs the extra ``export``."""
    encode, _ = WAYS["onnx"]
    return encode(build(spec, seed=0).eval(), ".onnx", {}, False)


@dataclass(frozen=True)
class Resident:
    """Bytes of resident memory: of a process before it has a network; what it gains by the network; what by a pass at
    its largest, with the images."""

    process: int
    weights: int
    live: int


def resident(
    spec: NetSpec, runtime: Literal["torch", "onnxruntime"], batch_size: int = 1, graph: bytes = b""
) -> Resident:
    """What the kernel saw of a process that runs a network; ONNX Runtime's arena and pattern are off there.

    Args:
        graph: for ONNX Runtime.
    """
    environment = {**os.environ, **PAGES, "OMP_NUM_THREADS": str(THREADS)}
    with tempfile.TemporaryDirectory() as folder:
        file, written = Path(folder, "network.onnx"), Path(folder, "spec.json")
        file.write_bytes(graph)
        written.write_text(json.dumps(spec.to_dict()))
        command = [
            sys.executable,
            "-m",
            "benchmarks.device.resident",
            runtime,
            str(written),
            str(file),
            str(batch_size),
        ]
        ended = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return Resident(*json.loads(ended.stdout))


def _images(spec: NetSpec, batch_size: int) -> Tensor:
    return torch.zeros(batch_size, spec.in_channels, spec.resolution, spec.resolution)


@torch.inference_mode()
def _allocated(network: MBConvNet, images: Tensor) -> int:
    """The largest running sum of what torch's allocator gave during a pass."""
    network(images)  # some kernels keep what they make at first
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        network(images)
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder, "trace.json")
        profile.export_chrome_trace(str(trace))
        events = json.loads(trace.read_bytes())["traceEvents"]
    memory = [event["args"] for event in events if event["name"] == "[memory]"]
    before = memory[0]["Total Allocated"] - memory[0]["Bytes"]
    return int(max(event["Total Allocated"] for event in memory) - before)


def _profile(graph: bytes, images: Tensor, passes: int, pattern: bool) -> list[dict[str, int]]:
    """The arena's statistics after every operator of some passes."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    options.enable_mem_pattern, options.enable_profiling = pattern, True
    with tempfile.TemporaryDirectory() as folder:
        options.profile_file_prefix = str(Path(folder, "profile"))
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        for _ in range(passes):
            session.run(None, {"images": images.numpy()})
        events: list[dict[str, Any]] = json.loads(Path(session.end_profiling()).read_bytes())
    rows = [event["args"] for event in events if event.get("cat") == "Node" and "mem_bytes_in_use" in event["args"]]
    if not rows:
        raise NoStatistics(onnxruntime.__version__)
    return [{name: int(value) for name, value in row.items() if name.startswith("mem_")} for row in rows]
