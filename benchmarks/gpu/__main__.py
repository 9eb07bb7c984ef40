"""The GPU sheet: every part with its own time limit, its result written at once; see README.md.

python -m benchmarks.gpu --minutes 8 --out runs/gpu --data path/to/cifar10_large
python -m benchmarks.gpu --minutes 3 --out runs/gpu --device cpu --tiny
"""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import time
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import torch

from benchmarks.gpu.sharing import end_mps
from benchmarks.gpu.sheet import ROOT, Request, append_rows, read_rows, write_tables
from scalesearch.running.provenance import hardware, versions

GRACE = 8.0  # seconds that a part may take longer than its time before it is killed
TINY_SECONDS = 60.0  # that a rehearsal's part has in any case: CI's machine may have other things to do
SHOWN = 2500  # characters of an error that are kept


class Part(NamedTuple):
    """``module.function`` gives the rows of a part that has a ``share`` of the time."""

    title: str
    function: str
    share: float


PARTS = {
    "a": Part("tests marked gpu", "commands.tests", 0.22),
    "b": Part("images a second of a training step", "steps.speed", 0.22),
    "i": Part("images a second of the input", "steps.feeding", 0.03),
    "c": Part("trials a minute, sharing the card", "sharing.alone", 0.17),
    "r": Part("batch size and learning rate", "sharing.rates", 0.06),
    "d": Part("truth table of a small space", "sharing.truth", 0.10),
    "e": Part("proxies beside what they stand for", "sharing.proxies", 0.10),
    "f": Part("grid --target-flops 400M", "commands.search", 0.07),
    "g": Part("predicted and measured memory", "steps.memory", 0.07),
    "h": Part("latency tables against networks that they never saw", "latency.tables", 0.10),
    "m": Part("trials a minute, sharing the card through MPS", "sharing.through_mps", 0.06),
    "k": Part("compiled steps", "steps.compiled", 0.0),
}
USUAL = [name for name, part in PARTS.items() if part.share]


def run_part(name: str, given: argparse.Namespace, seconds: float) -> dict[str, Any]:
    """Runs a part in a process of its own; its rows, and its error where it failed."""
    file, began, status = given.out / f"{name}.jsonl", time.monotonic(), "done"
    file.unlink(missing_ok=True)
    command = [sys.executable, "-m", "benchmarks.gpu", "--part", name, "--seconds", f"{seconds:.1f}"]
    command += ["--out", str(given.out), "--device", given.device, "--data", given.data]
    command += ["--tiny"] if given.tiny else []
    log = given.out / f"{name}.log"
    with log.open("w") as out:
        # a group of its own, which all that it starts belongs to
        process = subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            if process.wait(seconds + GRACE):
                status = f"failed with exit code {process.returncode}"
        except subprocess.TimeoutExpired:
            status = f"stopped after {seconds + GRACE:.0f} s"
        finally:  # what is left over would disturb the next part
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            end_mps(given.out)
    error = "" if status == "done" else log.read_text()[-SHOWN:]
    took = time.monotonic() - began
    return {"title": PARTS[name].title, "status": status, "seconds": took, "rows": read_rows(file), "error": error}


def run_all(given: argparse.Namespace) -> int:
    """Every part asked for, in order; how many failed."""
    began, parts = time.monotonic(), dict[str, dict[str, Any]]()
    given.out.mkdir(parents=True, exist_ok=True)
    facts = {
        "command": " ".join(sys.argv[1:]), "device": given.device,
        "hardware": hardware("cuda:0" if given.device == "cuda" else "cpu"),
        "versions": {**versions(), "timm": version("timm")},
    }  # fmt: skip
    for name in given.only:
        left = 60 * given.minutes - (time.monotonic() - began)
        waiting = sum(PARTS[later].share for later in given.only[given.only.index(name) :])
        share = left * PARTS[name].share / waiting if waiting else left
        parts[name] = run_part(name, given, max(left, TINY_SECONDS) if given.tiny else share)
        print(f"({name}) {parts[name]['title']}: {parts[name]['status']}, {parts[name]['seconds']:.0f} s", flush=True)
        write_tables(given.out, {**facts, "seconds": round(time.monotonic() - began, 1)}, parts)
    return sum(bool(part["error"]) for part in parts.values())


def main() -> int:
    """All parts, or, in the process that one is given, this one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=8.0, help="of all parts together")
    parser.add_argument("--out", type=lambda text: Path(text).resolve(), required=True)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--tiny", action="store_true", help="a rehearsal: everything runs, no number means anything")
    parser.add_argument("--data", default="glyphs", help="a folder like cifar10_large, for (c), (m), (r), (d)")
    parser.add_argument("--only", type=lambda text: text.split(","), default=USUAL, help="parts, such as b,c")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=600.0, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.part is None:
        return run_all(given)
    device = torch.device("cuda:0" if given.device == "cuda" else "cpu")
    request = Request(device, given.out, time.monotonic() + given.seconds, given.tiny, given.data)
    module, function = PARTS[given.part].function.split(".")
    measure = getattr(import_module(f"benchmarks.gpu.{module}"), function)
    append_rows(given.out / f"{given.part}.jsonl", measure(request))
    return 0


if __name__ == "__main__":
    sys.exit(main())
