"""How far a latency table is off on networks that it never saw, beside FLOPs, activations and parameters alone.

    python benchmarks/device/held_out.py --runtime onnxruntime --table device.json --networks 48 --out held_out

Networks of three spaces at four sizes each, at random depth, width and resolution, are timed end to end: torch's as
``nets.measure`` times them; ONNX Runtime's as ``scalesearch export`` writes them, with batch norms that are not fresh,
by a probe's program, which no torch is loaded beside. They take turns, and none of them was used for the table. FLOPs,
activations and parameters each get the power law that fits these very networks best, which the table does not; "at
speed" is the table times what its own networks, timed again with these, say of the machine's speed now and then.
Exported files are kept in the folder and used again; ``--export`` only writes them, for exporting takes longer than
timing.
"""

import argparse
import contextlib
import json
import math
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from scalesearch.design.cost import cost
from scalesearch.design.latency import LatencyTable, load_table
from scalesearch.design.latency_fit import bias_by_dimension
from scalesearch.design.latency_times import Floats, kendall_tau
from scalesearch.design.probes import Probe
from scalesearch.design.scaling import PAPER, multiply, realised, scale
from scalesearch.design.space import load_space
from scalesearch.design.spec import NetSpec
from scalesearch.nets import runner
from scalesearch.nets.device import RUNNER, run_here, silent
from scalesearch.nets.export import export
from scalesearch.nets.measure import WARM_SECONDS
from scalesearch.nets.modules import MBConvNet, build
from scalesearch.training.device import set_threads

SPACES = ("efficientnet_b0", "mobilenet_v3_large", "mbconv_small")
SIZES = (-2.0, -1.0, 0.0, 1.0)  # φ of the middle of each size
SPREAD = math.log(1.5)  # each multiplier lies within × 1.5 and ÷ 1.5 of its size's
ONNX_SECONDS = 120.0
SEED = 20261127  # of no probe
BIAS = 0.01  # of batch norms, as trained networks have: exporters leave zeros out
Pass = Callable[[], object]


def held_out(count: int, seed: int) -> tuple[Probe, ...]:
    """Networks of the spaces at each size, by turns."""
    draws, drawn = np.random.default_rng(seed), []
    for number in range(count):
        baseline = load_space(SPACES[number % len(SPACES)]).baseline
        middle = scale(baseline, PAPER, SIZES[number // len(SPACES) % len(SIZES)])
        has = realised(baseline, middle)
        wanted = [
            value * math.exp(draws.uniform(-SPREAD, SPREAD) * share)
            for value, share in ((has.depth, 1.0), (has.width, 0.7), (has.resolution, 0.7))
        ]
        spec = multiply(baseline, *wanted)
        has = realised(baseline, spec)
        drawn.append(Probe(spec, "check", baseline.name, has.depth, has.width, has.resolution))
    return tuple(drawn)


def network(spec: NetSpec) -> MBConvNet:
    """A network whose batch norms have biases."""
    made = build(spec, seed=0).eval()
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if name.endswith(".bias"):
                parameter.fill_(BIAS)
    return made


def torch_pass(spec: NetSpec) -> Pass:
    made = network(spec).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = torch.zeros(1, spec.in_channels, spec.resolution, spec.resolution)
    images = images.contiguous(memory_format=torch.channels_last)

    def one() -> object:
        with torch.inference_mode():
            return made(images)

    return one


def exported(spec: NetSpec, folder: Path) -> Path:
    """The network's ONNX file, as users get it; written once."""
    file = folder / f"{spec.digest}.onnx"
    if not file.exists():
        export(network(spec), file, "onnx", {})
    return file


def onnx_times(specs: Sequence[NetSpec], folder: Path, threads: int) -> tuple[list[float], list[float]]:
    """Median milliseconds and spread of each exported network."""
    names = [exported(spec, folder).stem for spec in specs]
    plan = {"format": runner.FORMAT, "batch_size": 1, "spaces": [], "networks": [{"name": name} for name in names]}
    (folder / runner.PLAN).write_text(json.dumps(plan))
    (folder / RUNNER).write_bytes(Path(runner.__file__).read_bytes())
    run_here(folder, threads, ONNX_SECONDS, silent)
    found = {one["name"]: one for one in json.loads((folder / runner.TIMES).read_text())["networks"]}
    return [found[name]["ms"] for name in names], [found[name]["spread"] for name in names]


def times_ms(passes: Sequence[Pass], rounds: int, processor: bool) -> tuple[list[float], list[float]]:
    """Median milliseconds and spread of each; in its turn each runs until it is warm, and the last pass counts."""
    clock = time.thread_time if processor else time.perf_counter
    for one in passes:
        for _ in range(3):
            one()
    kept: list[list[float]] = [[] for _ in passes]
    for _ in range(rounds):
        for one, taken in zip(passes, kept, strict=True):
            started = clock()
            one()
            while clock() - started < WARM_SECONDS:
                one()
            began = clock()
            one()
            taken.append(1e3 * (clock() - began))
    quartiles = [statistics.quantiles(taken, n=4, method="inclusive") for taken in kept]
    return [middle for _, middle, _ in quartiles], [(high - low) / middle for low, middle, high in quartiles]


def compared(
    networks: Sequence[Probe], times: Floats, table: LatencyTable, slower: float = 0.0
) -> list[dict[str, Any]]:
    """Error, rank agreement and bias of the table's predictions, and of the power laws of single costs.

    ``slower``: by what share the machine now is slower than when the table was made; predictions with it are a row too.
    """
    costs = [cost(one.spec) for one in networks]
    told = np.array([table.network_ms(one.spec) for one in networks])
    predictions = {"table": told, **({"at speed": told * (1 + slower)} if slower else {})}
    for name in ("macs", "activations", "params"):
        size = np.log([getattr(one, name) for one in costs])
        predictions[name] = np.exp(np.polyval(np.polyfit(size, np.log(times), 1), size))
    rows = []
    for name, predicted in predictions.items():
        bias = bias_by_dimension(networks, np.log(predicted / times))
        off = predicted / times - 1
        rows.append({
            "by": name, "mape": float(np.abs(off).mean()), "largest": float(np.abs(off).max()),
            "mean": float(off.mean()), "tau": kendall_tau(predicted, times),
            **dict(zip(("depth", "width", "resolution"), bias, strict=True)),
        })  # fmt: skip
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runtime", choices=("torch", "onnxruntime"), default="torch")
    parser.add_argument("--table", type=Path, help="the table, which device measure wrote")
    parser.add_argument("--networks", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seed", type=int, default=SEED, help="of which networks are drawn")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("held_out"), help="a folder; files of networks stay there")
    parser.add_argument("--export", action="store_true", help="only write the ONNX files")
    parser.add_argument(
        "--processor-time", action="store_true", help="the thread's own time: for a machine that is not quiet"
    )
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    set_threads(given.threads)
    networks = held_out(given.networks, given.seed)
    if given.export:
        for number, one in enumerate(networks, start=1):
            exported(one.spec, given.out)
            print(f"{number} of {len(networks)}", flush=True)
        return
    table = load_table(given.table)
    specs = [*(one.spec for one in table.anchors), *(one.spec for one in networks)]
    if given.runtime == "torch":
        times, spreads = times_ms([torch_pass(spec) for spec in specs], given.rounds, given.processor_time)
    else:
        times, spreads = onnx_times(specs, given.out, given.threads)
    ratios = [now / one.ms for now, one in zip(times, table.anchors, strict=False)]
    slower = statistics.median(ratios) - 1 if ratios else 0.0
    times, spreads = times[len(ratios) :], spreads[len(ratios) :]
    rows = compared(networks, np.array(times), table, slower)
    outside = sum(bool(table.outside(one.spec)) for one in networks)
    print(f"{table}\n{table.error_words}")
    print(f"{len(networks)} networks, {min(times):.3g} to {max(times):.3g} ms, {outside} outside what was measured")
    differ = f"{statistics.median(spreads):.1%} in the middle, {max(spreads):.1%} at most"
    print(f"Passes differ by {differ}; load {os.getloadavg()[0]:.2f}")
    print("The table's own networks, timed with these, against then:", *(f"{ratio - 1:+.1%}" for ratio in ratios))
    print(f"{'by':<12} {'MAPE':>6} {'most':>6} {'mean':>6} {'tau':>6}   bias per doubling of depth, width, resolution")
    for row in rows:
        bias = " ".join(f"{row[name]:+7.1%}" for name in ("depth", "width", "resolution"))
        print(
            f"{row['by']:<12} {row['mape']:6.1%} {row['largest']:6.1%} {row['mean']:+6.1%} {row['tau']:6.3f}   {bias}"
        )
    for space in SPACES:
        own = [place for place, one in enumerate(networks) if one.space == space]
        for part in compared([networks[place] for place in own], np.array(times)[own], table, slower):
            if part["by"] in ("table", "at speed"):
                errors = f"MAPE {part['mape']:.1%}, mean {part['mean']:+.1%}, tau {part['tau']:.3f}"
                print(f"{part['by']}, {space}: {errors}")
    measured = [
        {**asdict(one), "spec": one.spec.to_dict(), "ms": ms, "spread": spread, "table_ms": table.network_ms(one.spec)}
        for one, ms, spread in zip(networks, times, spreads, strict=True)
    ]
    content = {"table": str(table), "check": asdict(table.check) if table.check else None, "rows": rows}
    file = given.out / f"{given.runtime}.json"
    file.write_text(json.dumps({**content, "networks": measured}, indent=1))
    with contextlib.suppress(ValueError):
        file = file.relative_to(Path.cwd())
    print(f"Written: {file}")


if __name__ == "__main__":
    main()
