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
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

from benchmarks.gpu.sharing import end_mps
from benchmarks.gpu.sheet import Request, append_rows, read_rows, write_tables
from benchmarks.gpu.subject import hardware, versions

ROOT = Path(__file__).parents[2]
GRACE = 8.0  # seconds that a part may take longer than its time before it is killed
TINY_SECONDS = 60.0  # that a rehearsal's part has in any case: CI's machine may have other things to do
SHOWN = 2500  # characters of an error that are kept


@dataclass(frozen=True)
class Part:
    """One part: ``module.function`` gives its rows; ``share`` of the time; ``waits`` for what does not exist yet."""

    title: str
    function: str = ""
    share: float = 0.0
    continues: bool = False
    waits: str = ""


PARTS = {
    "a": Part("tests marked gpu", "tests.measure", 0.22),
    "b": Part("images a second of a training step", "steps.measure", 0.22),
    "i": Part("images a second of the input against the step's", "feeding.measure", 0.03),
    "c": Part("trials a minute, sharing the card", "sharing.measure", 0.17),
    "r": Part("batch size and learning rate", "sharing.rates", 0.06),
    "d": Part("truth table of a small space", "truth.measure", 0.10, continues=True),
    "e": Part("rank agreement of proxies with full-size networks", waits="the issue of proxies of equal cost"),
    "f": Part("grid --target-flops 400M", "search.measure", 0.07),
    "g": Part("predicted and measured memory", "memory.measure", 0.07),
    "h": Part("latency table", waits="the issue of latency tables"),
    "m": Part("trials a minute, sharing the card through MPS", "sharing.through_mps", 0.06),
}


def started(command: list[str], log: IO[str]) -> "subprocess.Popen[bytes]":
    """A process in a group of its own, which all that it starts belongs to."""
    return subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)


def end(process: "subprocess.Popen[bytes]") -> None:
    """With all that it started: what is left over would disturb the next part."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def run_part(name: str, given: argparse.Namespace, seconds: float) -> dict[str, Any]:
    """Runs a part in a process of its own; its rows, and its error where it failed."""
    part, began = PARTS[name], time.monotonic()
    if part.waits:
        return {"title": part.title, "status": f"waits for {part.waits}", "seconds": 0.0, "rows": []}
    file = given.out / f"{name}.jsonl"
    if not part.continues:
        file.unlink(missing_ok=True)
    command = [sys.executable, "-m", "benchmarks.gpu", "--part", name, "--seconds", f"{seconds:.1f}"]
    command += ["--out", str(given.out), "--device", given.device]
    command += ["--tiny"] if given.tiny else []
    command += ["--data", given.data] if given.data else []
    status, error = "done", ""
    with (given.out / f"{name}.log").open("w") as log:
        process = started(command, log)
        try:
            if process.wait(seconds + GRACE):
                status = f"failed with exit code {process.returncode}"
        except subprocess.TimeoutExpired:
            status = f"stopped after {seconds + GRACE:.0f} s"
        finally:
            end(process)
            end_mps(given.out)
    if status != "done":
        error = (given.out / f"{name}.log").read_text()[-SHOWN:]
    rows = read_rows(file)
    return {
        "title": part.title, "status": status, "seconds": time.monotonic() - began, "rows": rows, "error": error,
    }  # fmt: skip


def run_all(given: argparse.Namespace) -> int:
    """Every part asked for, in order; how many failed."""
    began, parts = time.monotonic(), dict[str, dict[str, Any]]()
    given.out.mkdir(parents=True, exist_ok=True)
    facts = {
        "command": " ".join(sys.argv[1:]), "device": given.device,
        "hardware": hardware("cuda:0" if given.device == "cuda" else "cpu"),
        "versions": {**versions(), "timm": version("timm")},
    }  # fmt: skip
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(given.out.resolve() / "compiled"))
    compiling = None
    if given.device == "cuda" and "b" in given.only:  # compiling takes a minute, which the tests can share
        for left_over in ("compile.jsonl", "quiet"):
            (given.out / left_over).unlink(missing_ok=True)
        command = [sys.executable, "-m", "benchmarks.gpu", "--part", "compile", "--out", str(given.out)]
        log = (given.out / "compile.log").open("w")
        compiling = started(command, log)
    for name in given.only:
        left = 60 * given.minutes - (time.monotonic() - began)
        waiting = sum(PARTS[later].share for later in given.only[given.only.index(name) :]) or 1.0
        share = left * PARTS[name].share / waiting
        parts[name] = run_part(name, given, max(left, TINY_SECONDS) if given.tiny else share)
        print(f"({name}) {parts[name]['title']}: {parts[name]['status']}, {parts[name]['seconds']:.0f} s", flush=True)
        write_tables(given.out, {**facts, "seconds": round(time.monotonic() - began, 1)}, parts)
    if compiling is not None:
        end(compiling)
    return sum(bool(part.get("error")) for part in parts.values())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=8.0, help="of all parts together")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--tiny", action="store_true", help="a rehearsal: everything runs, no number means anything")
    parser.add_argument("--data", help="a folder like cifar10_large, for (c), (r), (d); the embedded glyphs without")
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(PARTS), help="parts, such as b,c")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=600.0, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.part is None:
        return run_all(given)
    file, ends = given.out / f"{given.part}.jsonl", time.monotonic() + given.seconds
    request = Request(given.device, given.out, ends, given.tiny, given.data, tuple(read_rows(file)))
    module, function = ("steps", "compile_all") if given.part == "compile" else PARTS[given.part].function.split(".")
    append_rows(file, getattr(import_module(f"benchmarks.gpu.{module}"), function)(request))
    return 0


if __name__ == "__main__":
    sys.exit(main())
