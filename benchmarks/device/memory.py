"""Peak inference memory: the closed form against what allocators count and the kernel sees, over all spaces.

    python -m benchmarks.device.memory --out runs/memory.jsonl [--part 1/4] [--resident]

Each space's baseline (224 px at most), the same at 97 px with four images at a time, and a member of another size:
17 × 3 networks, on torch and ONNX Runtime. A file that is there is gone on with; the table covers what it holds.
"""

import argparse
import json
import platform
import statistics
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from benchmarks.device.peak import onnx_graph, onnxruntime_held, onnxruntime_live, resident, torch_live
from scalesearch.design.cost import cost
from scalesearch.design.memory import live_bytes, peak_bytes, stored_bytes
from scalesearch.design.scaling import PAPER, scale
from scalesearch.design.space import load_space, space_names
from scalesearch.design.spec import NetSpec

LARGEST_PX, ODD_PX = 224, 97
SMALL = 20e6  # multiply-adds under which the other size is a larger one
GOAL = 0.10
RESIDENT = ("efficientnet_b0", "efficientnet_v2_s", "mobilenet_v2", "mobilenet_v3_large", "resnet18", "resnet50")


def cases() -> Iterator[tuple[str, NetSpec, int]]:
    """Name, network, images at a time."""
    for name in space_names():
        spec = load_space(name).baseline
        own = replace(spec, resolution=min(spec.resolution, LARGEST_PX))
        yield f"{name} {own.resolution} px", own, 1
        yield f"{name} {ODD_PX} px × 4", replace(spec, resolution=ODD_PX, classes=10), 4
        phi = 3 if cost(spec).macs < SMALL else -3
        member = scale(spec, replace(PAPER, growth=2.0), phi)
        yield f"{name} φ {phi}, {member.resolution} px", member, 1


def measured(name: str, spec: NetSpec, batch_size: int, with_resident: bool) -> dict[str, object]:
    """A row: predicted and measured bytes of activations for each runtime, and weights."""
    graph = onnx_graph(spec)
    row: dict[str, object] = {
        "name": name, "batch_size": batch_size, "digest": spec.digest,
        "torch": live_bytes(spec, "torch", batch_size), "torch_measured": torch_live(spec, batch_size),
        "onnxruntime": live_bytes(spec, "onnxruntime", batch_size),
        "onnxruntime_measured": onnxruntime_live(graph, spec, batch_size),
        "onnxruntime_held": onnxruntime_held(graph, spec, batch_size),
        "torch_weights": stored_bytes(spec, "torch"), "onnxruntime_weights": stored_bytes(spec, "onnxruntime"),
        "int8": peak_bytes(spec, batch_size=batch_size, dtype="int8"),
    }  # fmt: skip
    if with_resident:
        for runtime in ("torch", "onnxruntime"):
            seen = resident(spec, runtime, batch_size, graph)  # type: ignore[arg-type]
            row[f"{runtime}_resident"] = [seen.process, seen.weights, seen.live]
    return row


def table(rows: list[dict[str, object]]) -> str:
    """Markdown: every network, then worst and median errors."""
    lines = [
        "| network | torch, MB | measured | error | ONNX Runtime, MB | measured | error | arena holds | weights, MB "
        "| int8, all, MB |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        cells = [str(row["name"])]
        for runtime in ("torch", "onnxruntime"):
            cells += [_mb(row[runtime]), _mb(row[f"{runtime}_measured"]), f"{_error(row, runtime):+.1%}"]
        cells += [_mb(row["onnxruntime_held"]), _mb(row["torch_weights"]), _mb(row["int8"])]
        lines.append(f"| {' | '.join(cells)} |")
    lines.append("")
    for runtime in ("torch", "onnxruntime"):
        errors = [_error(row, runtime) for row in rows]
        sizes = [abs(error) for error in errors]
        exact = sum(size < 0.001 for size in sizes)
        worst = max(rows, key=lambda row: abs(_error(row, runtime)))
        lines.append(
            f"- {runtime}: {len(rows)} networks, worst {max(sizes):.1%} ({worst['name']}), median "
            f"{statistics.median(sizes):.2%}, {exact} to a thousandth, {sum(s > GOAL for s in sizes)} above {GOAL:.0%}"
        )
    held = [float(row["onnxruntime_held"]) / float(row["onnxruntime_measured"]) for row in rows]  # type: ignore[arg-type]
    lines.append(f"- ONNX Runtime's arena at its defaults holds {statistics.median(held):.1f} × that (median)")
    for runtime in ("torch", "onnxruntime"):
        for row in rows:
            if f"{runtime}_resident" in row:
                process, weights, live = row[f"{runtime}_resident"]  # type: ignore[misc]
                lines.append(
                    f"- resident, {runtime}, {row['name']}: process {process / 1e6:.0f} MB, "
                    f"network {weights / 1e6:.1f} MB "
                    f"(closed form {float(row[f'{runtime}_weights']) / 1e6:.1f}), pass {live / 1e6:.2f} MB "  # type: ignore[arg-type]
                    f"({float(row[runtime]) / 1e6:.2f})"  # type: ignore[arg-type]
                )
    return "\n".join(lines)


def _mb(value: object) -> str:
    return f"{float(value) / 1e6:.2f}"  # type: ignore[arg-type]


def _error(row: dict[str, object], runtime: str) -> float:
    return float(row[runtime]) / float(row[f"{runtime}_measured"]) - 1  # type: ignore[arg-type]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--part", default="1/1", help="such as 2/4: the second quarter of the networks")
    parser.add_argument("--resident", action="store_true", help="also what the kernel sees, on some networks")
    given = parser.parse_args()
    rows = [json.loads(line) for line in given.out.read_text().splitlines()] if given.out.exists() else []
    part, parts = map(int, given.part.split("/"))
    done = {row["name"] for row in rows}
    for number, (name, spec, batch_size) in enumerate(cases()):
        if number % parts == part - 1 and name not in done:
            watched = given.resident and batch_size == 1 and spec.name in RESIDENT and "φ" not in name
            rows.append(measured(name, spec, batch_size, watched))
            with given.out.open("a") as file:
                file.write(json.dumps(rows[-1]) + "\n")
    print(
        f"{platform.processor() or platform.machine()}, torch {version('torch')}, onnxruntime {version('onnxruntime')}"
    )
    print(table(rows))


if __name__ == "__main__":
    main()
