"""Times a device: the networks of ``design.probes`` in torch here, or as ONNX files here and elsewhere."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from scalesearch.design.latency import Dtype
from scalesearch.design.latency_fit import READINGS, Readings
from scalesearch.design.probes import Probe, probes
from scalesearch.design.spec import NetSpec
from scalesearch.errors import UserError
from scalesearch.files import read_json, write_files
from scalesearch.nets import runner
from scalesearch.nets.modules import build
from scalesearch.typed import parse

RUNNER = "run.py"
WEIGHTS_DEVIATION = 0.05
RECORDED_AFTER = 3  # passes: libraries choose their kernels in the first ones
Told = Callable[[int, int], None]


def torch_readings(
    baselines: Sequence[NetSpec], batch_size: int, device: torch.device, dtype: Dtype, seconds: float, tell: Told
) -> Readings:
    """Times networks in torch with its current number of threads; on a GPU recorded as CUDA graphs.

    Args:
        seconds: that it may take, about.
        tell: is told (done, of how many) networks.
    """
    planned = _named(probes(baselines, batch_size))
    specs = {str(one["name"]): NetSpec.from_dict(one["spec"]) for one in planned}
    threads = torch.get_num_threads()

    def load(name: str) -> Callable[[], object]:
        return torch_pass(specs[name], batch_size, device, dtype)

    on_cpu = device.type == "cpu"
    clock = runner.thread_clock(threads if on_cpu else 0)
    found = runner.measure(list(specs), load, seconds, tell, clock)
    times = found.pop("times")
    machine = None if on_cpu else torch.cuda.get_device_name(device)
    return _readings({
        **runner.conditions(threads, {"torch": str(torch.__version__)}, machine), **found,
        "runtime": "torch" if on_cpu else "torch-cuda", "batch_size": batch_size, "dtype": dtype,
        "spaces": [one.name for one in baselines],
        "networks": [{**one, **dict(zip(("ms", "spread"), times[one["name"]], strict=True))} for one in planned],
    })  # fmt: skip


def torch_pass(spec: NetSpec, batch_size: int, device: torch.device, dtype: Dtype) -> Callable[[], object]:
    """A function that runs a pass on black images, channels last, and returns when it is done."""
    kind: torch.dtype = getattr(torch, dtype)
    network = build(spec, seed=0).eval()
    network.to(device=device, dtype=kind, memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = torch.zeros(batch_size, spec.in_channels, spec.resolution, spec.resolution, device=device, dtype=kind)
    images = images.contiguous(memory_format=torch.channels_last)
    if device.type == "cuda":
        return _recorded(network, images, device)

    def one() -> object:
        with torch.inference_mode():
            return network(images)

    return one


def _recorded(network: torch.nn.Module, images: torch.Tensor, device: torch.device) -> Callable[[], object]:
    """A pass recorded as a CUDA graph and replayed, so that launches do not count. Never run on a GPU yet."""
    with torch.cuda.device(device), torch.no_grad():
        side = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(side):
            for _ in range(RECORDED_AFTER):
                network(images)
        torch.cuda.current_stream(device).wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            network(images)

    def one() -> object:
        graph.replay()
        torch.cuda.synchronize(device)
        return network  # which the graph reads

    return one


def onnx_readings(
    baselines: Sequence[NetSpec], batch_size: int, threads: int, seconds: float, tell: Told
) -> Readings:  # fmt: skip
    """Times networks in ONNX Runtime on this machine's processor, in a process of its own, as a probe does elsewhere.

    Raises UserError where onnx or onnxruntime is missing, or the process came to nothing.
    """
    _require_onnxruntime()
    with tempfile.TemporaryDirectory() as folder:
        write_probe(Path(folder), baselines, batch_size)
        command = [sys.executable, RUNNER, "--threads", str(threads), "--minutes", str(seconds / 60)]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, cwd=folder, stdout=pipe, stderr=pipe, text=True) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            for line in process.stdout:
                words = line.split()
                if len(words) > 2 and words[0].isdecimal() and words[2].isdecimal():
                    tell(int(words[0]), int(words[2]))
            problem = process.stderr.read()
        if process.returncode:
            raise UserError("--runtime onnxruntime", f"timing its networks failed: {problem[-600:].strip()}")
        return read_readings(Path(folder) / runner.TIMES)


def write_probe(folder: Path, baselines: Sequence[NetSpec], batch_size: int) -> tuple[Path, ...]:
    """Writes the networks as ONNX files, the file of weights that they share, the list of them, and the program.

    Raises UserError where onnx is missing, or the folder holds files or cannot be written to.
    """
    onnx_graph = _onnx_graph()
    if folder.exists() and any(folder.iterdir()):
        raise UserError(str(folder), "a probe needs a folder that is new or empty.", do="Name another one.")
    planned = _named(probes(baselines, batch_size))
    graphs = {one["name"]: onnx_graph(NetSpec.from_dict(one["spec"])) for one in planned}
    largest = max(size for _, size in graphs.values())
    weights = np.random.default_rng(0).normal(0, WEIGHTS_DEVIATION, largest // 4).astype(np.float32)
    plan = {"format": runner.FORMAT, "batch_size": batch_size, "spaces": [one.name for one in baselines],
            "networks": planned}  # fmt: skip
    contents = {f"{name}.onnx": content for name, (content, _) in graphs.items()}
    return write_files(folder, {
        **contents, WEIGHTS_FILE: weights.tobytes(), RUNNER: Path(runner.__file__).read_bytes(),
        runner.PLAN: json.dumps(plan).encode(),
    })  # fmt: skip


def read_readings(path: Path) -> Readings:
    """What a probe's program wrote. Raises UserError on other files."""
    values = read_json(path, READINGS)
    if values.pop("what", None) != READINGS:
        raise UserError(str(path), f"{READINGS} should be here, as its run.py writes them.")
    if values.pop("format", None) != runner.FORMAT:
        problem = f"{READINGS} should be here, in format {runner.FORMAT}."
        raise UserError(str(path), problem, do="Write the probe anew with this scalesearch, or update it.")
    return parse(Readings, values, str(path), READINGS)


def _readings(values: dict[str, Any]) -> Readings:
    return parse(Readings, values, "the device", READINGS)


def _named(listed: Sequence[Probe]) -> list[dict[str, Any]]:
    """Networks as plain values, each with a name of its own."""
    return [
        {**asdict(one), "spec": one.spec.to_dict(), "name": f"n{number:03d}"} for number, one in enumerate(listed)
    ]  # fmt: skip


WEIGHTS_FILE = "weights.bin"


def _onnx_graph() -> Callable[[NetSpec], tuple[bytes, int]]:
    try:
        from scalesearch.nets.onnx_probe import onnx_graph
    except ImportError as error:
        raise _missing(error) from None
    return onnx_graph


def _require_onnxruntime() -> None:
    try:
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise _missing(error) from None


def _missing(error: ImportError) -> UserError:
    problem = f"it needs onnx and onnxruntime, and there is no package {error.name}."
    return UserError("device", problem, do="Run pip install 'scalesearch[export]'.")
