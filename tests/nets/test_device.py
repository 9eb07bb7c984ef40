"""Devices timed: by a made-up clock, in torch, as ONNX files, and by a probe's program in an empty environment."""

import json
import subprocess
import sys
import venv
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch

from scalesearch.design import probes as probing
from scalesearch.design.latency import FORMAT, load_table
from scalesearch.design.latency_fit import READINGS, fit, written
from scalesearch.design.space import load_space
from scalesearch.design.spec import NetSpec
from scalesearch.errors import UserError
from scalesearch.nets import runner
from scalesearch.nets.device import (
    RUNNER,
    WEIGHTS_FILE,
    onnx_readings,
    read_readings,
    torch_pass,
    torch_readings,
    write_probe,
)
from scalesearch.nets.modules import build
from tests.nets.specs import small_resnet, tiny, tiny_plain

SMALL = (load_space("mbconv_small").baseline,)


class Machine:
    """A made-up one: each network takes its own milliseconds, times how slow the machine is at the moment."""

    def __init__(self, times: dict[str, float], slow: Callable[[float], float] = lambda now: 1.0) -> None:
        self.now, self._times, self._slow = 0.0, times, slow

    def load(self, name: str) -> Callable[[], object]:
        def one() -> None:
            self.now += 1e-3 * self._times[name] * self._slow(self.now)

        return one

    def clock(self) -> float:
        return self.now


TIMES = {f"n{number:03d}": 0.5 + number % 7 for number in range(40)}


def measured(machine: Machine, seconds: float = 1000.0) -> tuple[dict[str, list[float]], float]:
    told: list[tuple[int, int]] = []
    found = runner.measure(
        list(TIMES), machine.load, seconds, lambda *done: told.append(done), machine.clock, machine.clock
    )  # fmt: skip
    assert told[-1] == (39, 39)
    return found["times"], found["drift"]


def test_each_network_is_given_its_own_time() -> None:
    times, drift = measured(Machine(TIMES))
    assert {name: pytest.approx(ms) for name, (ms, _) in times.items()} == TIMES
    assert all(spread == pytest.approx(0) for _, spread in times.values())
    assert drift == pytest.approx(0)


def test_a_while_in_which_the_machine_is_slow_is_timed_again_or_taken_out() -> None:
    """It runs at half the speed from its third group on: the reference tells."""
    usual = Machine(TIMES)
    measured(usual)
    for slow_until in (1.5 * usual.now, 1e9):
        machine = Machine(TIMES, lambda now, until=slow_until: 2.0 if 0.6 * usual.now < now < until else 1.0)
        times, drift = measured(machine)
        assert {name: pytest.approx(ms, rel=0.03) for name, (ms, _) in times.items()} == TIMES
        assert (drift > 0.5) == (slow_until == 1e9)


def test_less_time_means_fewer_rounds() -> None:
    machine = Machine(TIMES)
    measured(machine)
    hurried = Machine(TIMES)
    times, _ = measured(hurried, machine.now / 2)
    assert hurried.now < 0.7 * machine.now
    assert {name: pytest.approx(ms) for name, (ms, _) in times.items()} == TIMES


def test_turns_in_which_something_else_ran_are_counted() -> None:
    machine, wall = Machine(TIMES), iter(chain.from_iterable((0.0, 1.0) for _ in range(10)))
    _, disturbed = runner.timed([machine.load("n000")], 10, machine.clock, lambda: next(wall))
    assert disturbed == 1
    _, disturbed = runner.timed([machine.load("n000")], 10, machine.clock, machine.clock)
    assert disturbed == 0


def test_one_thread_is_timed_by_its_own_time_and_several_by_the_time_of_day() -> None:
    assert runner.thread_clock(1) in (runner.time.thread_time, runner.time.perf_counter)
    assert runner.thread_clock(2) is runner.time.perf_counter


@pytest.mark.parametrize("make", [tiny, tiny_plain])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_pass_in_torch_gives_logits_of_black_images(make: Callable[[], NetSpec], batch_size: int) -> None:
    logits = torch_pass(make(), batch_size, torch.device("cpu"), "float32")()
    assert isinstance(logits, torch.Tensor)
    assert logits.shape == (batch_size, 5)
    assert torch_pass(make(), 1, torch.device("cpu"), "bfloat16")().dtype == torch.bfloat16  # type: ignore[attr-defined]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few and small networks, few rounds."""
    for name, value in (("PIECES", 34), ("WHOLE_FITTED", 2), ("WHOLE_CHECKED", 3), ("PIECE_MACS", 1e6), ("TRIES", 4)):
        monkeypatch.setattr(probing, name, value)
    monkeypatch.setattr(runner, "ROUNDS", 2)


@pytest.mark.usefixtures("few")
def test_torch_is_timed_here() -> None:
    told: list[tuple[int, int]] = []
    before = torch.get_num_threads()
    readings = torch_readings(SMALL, 2, torch.device("cpu"), "float32", 60, lambda *done: told.append(done))
    assert (readings.runtime, readings.batch_size, readings.threads) == ("torch", 2, before)
    assert readings.versions["torch"] == torch.__version__
    assert told[-1] == (38, 38)
    assert all(one.ms > 0 for one in readings.networks)
    table = fit(readings)
    assert table.check is not None
    assert table.network_ms(SMALL[0]) > 0


@pytest.mark.usefixtures("few")
def test_a_probe_is_run_as_on_a_board_and_read(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    files = write_probe(tmp_path / "board", SMALL, 2)
    assert files[-1].name == runner.PLAN
    assert {one.name for one in files} >= {RUNNER, WEIGHTS_FILE, "n000.onnx", "n038.onnx"}
    times = runner.run(str(tmp_path / "board"), 1, 60, lambda *done: None)
    (tmp_path / "times.json").write_text(json.dumps(times))
    readings = read_readings(tmp_path / "times.json")
    assert (readings.runtime, readings.batch_size, readings.threads) == ("onnxruntime", 2, 1)
    assert json.loads(json.dumps(written(readings))) == times
    assert load_table(tmp_path / "times.json") == fit(readings)


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.usefixtures("few")
def test_a_probe_runs_in_an_empty_environment_with_several_threads(tmp_path: Path) -> None:
    venv.create(tmp_path / "env", with_pip=True)
    python = str(tmp_path / "env" / "bin" / "python")
    subprocess.run([python, "-m", "pip", "install", "--quiet", "onnxruntime"], check=True)
    write_probe(tmp_path / "board", SMALL, 1)
    command = [python, "-I", str(tmp_path / "board" / RUNNER), "--threads", "2", "--out", str(tmp_path / "times.json")]
    subprocess.run(command, check=True, cwd=tmp_path)
    table = load_table(tmp_path / "times.json")
    assert (table.runtime, table.threads) == ("onnxruntime", 2)


@pytest.mark.slow
@pytest.mark.usefixtures("few")
def test_onnx_runtime_is_timed_in_a_process_of_its_own() -> None:
    pytest.importorskip("onnxruntime")
    told: list[tuple[int, int]] = []
    readings = onnx_readings(SMALL, 1, 2, 60, lambda *done: told.append(done))
    assert readings.threads == 2
    assert told[-1] == (38, 38)


def test_a_folder_with_files_is_no_place_for_a_probe(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    (tmp_path / "mine.txt").touch()
    with pytest.raises(UserError, match="a probe needs a folder that is new or empty"):
        write_probe(tmp_path, SMALL, 1)
    assert [one.name for one in tmp_path.iterdir()] == ["mine.txt"]


def test_what_is_no_probes_times_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "times.json"
    for values, message in (
        ({"what": "a cake"}, "should be here, as its run.py writes them"),
        ({"what": READINGS, "format": FORMAT + 1}, "in format 1. Write the probe anew"),
        ({"what": READINGS, "format": FORMAT}, "machine: .* the field is missing"),
    ):
        file.write_text(json.dumps(values))
        with pytest.raises(UserError, match=message):
            read_readings(file)


def test_the_program_and_the_package_agree_on_what_it_writes() -> None:
    assert (runner.FORMAT, runner.WHAT) == (FORMAT, READINGS)


def test_the_program_needs_nothing_but_python_and_onnxruntime() -> None:
    source = Path(runner.__file__).read_text()
    imported = {line.split()[1].partition(".")[0] for line in source.splitlines() if line.strip().startswith("import ")}
    imported |= {line.split()[1].partition(".")[0] for line in source.splitlines() if line.startswith("from ")}
    assert imported - {"numpy", "onnxruntime"} <= set(sys.stdlib_module_names)


SPECS = {
    "mbconv": tiny, "plain": tiny_plain, "resnet": lambda: replace(small_resnet("resnet18"), resolution=40),
    "mobilenet_v3": lambda: replace(load_space("mobilenet_v3_small").baseline, resolution=32, classes=7),
    "same": lambda: replace(tiny(), padding="same"),
}  # fmt: skip


@pytest.mark.parametrize("name", SPECS)
def test_a_graph_gives_the_networks_logits(name: str, tmp_path: Path) -> None:
    """With the weights that its file of weights holds, and no biases."""
    onnxruntime = pytest.importorskip("onnxruntime")
    from scalesearch.nets.onnx_probe import onnx_graph

    spec = SPECS[name]()
    content, largest = onnx_graph(spec)
    numbers = np.random.default_rng(0).normal(0, 0.2, largest // 4).astype(np.float32)
    (tmp_path / "net.onnx").write_bytes(content)
    (tmp_path / WEIGHTS_FILE).write_bytes(numbers.tobytes())
    network = build(spec, seed=0).eval()
    with torch.no_grad():
        for parameter_name, parameter in network.named_parameters():
            if parameter.ndim > 1:
                parameter.copy_(torch.from_numpy(numbers[: parameter.numel()]).view(parameter.shape))
            elif parameter_name.endswith("bias"):
                parameter.zero_()
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.eps = 0.0  # a fresh one then changes nothing, as a folded one of zeros
    images = np.random.default_rng(1).normal(size=(2, 3, spec.resolution, spec.resolution)).astype(np.float32)
    session = onnxruntime.InferenceSession(str(tmp_path / "net.onnx"), providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {session.get_inputs()[0].name: images})
    expected = network(torch.from_numpy(images)).detach().numpy()
    np.testing.assert_allclose(logits, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


@pytest.mark.slow
@pytest.mark.parametrize("name", SPECS)
def test_onnx_runtime_makes_the_same_of_it_as_of_an_export(name: str, tmp_path: Path) -> None:
    onnxruntime, onnx = pytest.importorskip("onnxruntime"), pytest.importorskip("onnx")
    from scalesearch.nets.export import export
    from scalesearch.nets.onnx_probe import onnx_graph

    def operators(file: Path) -> Counter[str]:
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(file.with_suffix(".optimised"))
        options.log_severity_level = 3
        onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        model = onnx.load(options.optimized_model_filepath, load_external_data=False)
        return Counter(node.op_type for node in model.graph.node)

    spec = SPECS[name]()
    network = build(spec, seed=0).eval()
    with torch.no_grad():
        for parameter_name, parameter in network.named_parameters():
            if parameter_name.endswith("bias"):
                parameter.fill_(0.01)
    export(network, tmp_path / "exported.onnx", "onnx", {})
    content, largest = onnx_graph(spec)
    (tmp_path / "ours.onnx").write_bytes(content)
    (tmp_path / WEIGHTS_FILE).write_bytes(np.full(largest // 4, 0.1, np.float32).tobytes())
    assert operators(tmp_path / "ours.onnx") == operators(tmp_path / "exported.onnx")
