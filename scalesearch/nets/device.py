"""Times a device: the networks of ``design.probes`` in torch here, or as ONNX files here and elsewhere."""

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from scalesearch.design.latency import Dtype, LatencyTable
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
    threads, on_cpu = torch.get_num_threads(), device.type == "cpu"
    found = _torch_times(specs, batch_size, device, dtype, seconds, tell)
    times = found.pop("times")
    machine = None if on_cpu else torch.cuda.get_device_name(device)
    return _readings({
        **runner.conditions(threads, {"torch": str(torch.__version__)}, machine), **found,
        "runtime": "torch" if on_cpu else "torch-cuda", "batch_size": batch_size, "dtype": dtype,
        "spaces": [one.name for one in baselines],
        "networks": [{**one, **dict(zip(("ms", "spread"), times[one["name"]], strict=True))} for one in planned],
    })  # fmt: skip


def _torch_times(
    specs: Mapping[str, NetSpec], batch_size: int, device: torch.device, dtype: Dtype, seconds: float, tell: Told
) -> dict[str, Any]:
    """What ``runner.measure`` finds of networks by name, with torch's current number of threads."""
    clock = runner.thread_clock(torch.get_num_threads() if device.type == "cpu" else 0)

    def load(name: str) -> Callable[[], object]:
        return torch_pass(specs[name], batch_size, device, dtype)

    return runner.measure(list(specs), load, seconds, tell, clock)


def network_times(
    specs: Sequence[NetSpec], table: LatencyTable, seconds: float
) -> tuple[tuple[float, ...], float | None]:
    """Milliseconds of whole networks, timed here as the table's were: in its runtime, batch size and precision; torch
    with its current number of threads. And by what share the table's anchors, by turns with them, take longer now than
    when the table was made: None where it has none.

    Raises:
        UserError: this is another device than the table's, or its runtime is not installed.
    """
    anchors = table.anchors
    times = _times([*(one.spec for one in anchors), *specs], table, seconds)
    ratios = [now / one.ms for now, one in zip(times, anchors, strict=False)]
    return times[len(anchors) :], statistics.median(ratios) - 1 if ratios else None


def _times(specs: Sequence[NetSpec], table: LatencyTable, seconds: float) -> tuple[float, ...]:
    on_gpu = table.runtime == "torch-cuda"
    here = runner.processor() if not on_gpu else torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    if here != table.machine:
        problem = f"the table is of {table.machine}, and this is {here}"
        raise UserError("--device-table", f"{problem}.", do="Measure the networks there.")
    named = {f"n{number:03d}": spec for number, spec in enumerate(specs)}
    if table.runtime == "onnxruntime":
        _require_onnxruntime()
        planned = [{"name": name, "spec": spec.to_dict()} for name, spec in named.items()]
        with tempfile.TemporaryDirectory() as folder:
            _write_networks(Path(folder), planned, (), table.batch_size)
            run_here(Path(folder), table.threads, seconds, silent)
            found = json.loads((Path(folder) / runner.TIMES).read_text())
        return tuple(one["ms"] for one in found["networks"])
    device = torch.device("cuda" if on_gpu else "cpu")
    times = _torch_times(named, table.batch_size, device, table.dtype, seconds, silent)["times"]
    return tuple(times[name][0] for name in named)


def silent(done: int, total: int) -> None:
    """Tells nobody."""


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
        run_here(Path(folder), threads, seconds, tell)
        return read_readings(Path(folder) / runner.TIMES)


def run_here(folder: Path, threads: int, seconds: float, tell: Told) -> None:
    """Runs a probe's program on this machine. Raises UserError where it comes to nothing."""
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


def write_probe(folder: Path, baselines: Sequence[NetSpec], batch_size: int) -> tuple[Path, ...]:
    """Writes the networks as ONNX files, the file of weights that they share, the list of them, and the program.

    Raises UserError where onnx is missing, or the folder holds files or cannot be written to.
    """
    _onnx_graph()
    if folder.exists() and any(folder.iterdir()):
        raise UserError(str(folder), "a probe needs a folder that is new or empty.", do="Name another one.")
    planned = _named(probes(baselines, batch_size))
    return _write_networks(folder, planned, [one.name for one in baselines], batch_size)


def _write_networks(
    folder: Path, planned: Sequence[Mapping[str, Any]], spaces: Sequence[str], batch_size: int
) -> tuple[Path, ...]:
    """Writes networks, given by name and spec, as ``write_probe`` does."""
    onnx_graph = _onnx_graph()
    graphs = {one["name"]: onnx_graph(NetSpec.from_dict(one["spec"])) for one in planned}
    largest = max(size for _, size in graphs.values())
    weights = np.random.default_rng(0).normal(0, WEIGHTS_DEVIATION, largest // 4).astype(np.float32)
    plan = {"format": runner.FORMAT, "batch_size": batch_size, "spaces": list(spaces), "networks": list(planned)}
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
