"""(a) ``pytest -m gpu``, and (f) ``grid --target-flops 400M`` as a user types it."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator

from benchmarks.gpu.sheet import ROOT, Request, Row

OUTCOMES = "PASSED|FAILED|SKIPPED|ERROR"
# with workers the outcome comes first, without them last
LINE = re.compile(rf"(?:\[gw\d+\].*?({OUTCOMES}) )?tests/\S+::(\S+)(?: ({OUTCOMES}))?")
KEYS = ("name", "proxy_macs", "proxy_resolution", "epochs", "status", "top1", "seconds", "note", "reason")


def tests(asked: Request) -> Iterator[Row]:
    """(a) A row for each test as it ends, so that a limit leaves the earlier ones; fails after them where one did."""
    command = [
        sys.executable, "-m", "pytest", "-m", "gpu", "-v", "-n", "0" if asked.tiny else "4", "-p", "no:cacheprovider",
        "-p", "no:benchmark", "tests/training", "tests/data",
    ]  # fmt: skip
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        for line in process.stdout or ():
            print(line, end="", flush=True)
            match = LINE.match(line)
            if match and (outcome := match[1] or match[3]):
                yield {"test": match[2], "outcome": outcome.lower()}
    if process.returncode:
        raise SystemExit(process.returncode)


def search(asked: Request) -> Iterator[Row]:
    """(f) What the commands printed, and the trainings that ended: as many as the time allows."""
    folder = asked.out / "f-run"
    target = ["--space", "mbconv_small", "--target-flops", "1M", "--images", "200", "--epochs", "2", "--jobs", "1"]
    target = target if asked.tiny else ["--target-flops", "400M"]
    common = [sys.executable, "-m", "scalesearch", "grid", *target, "--device", str(asked.device), "--run", str(folder)]
    for kind, more in (("plan", ["--dry-run"]), ("trainings", ["--yes", "--trials", "2" if asked.tiny else "12"])):
        began, log = time.monotonic(), asked.out / "f-command.log"
        with log.open("w") as out, subprocess.Popen([*common, *more], cwd=ROOT, stdout=out, stderr=out) as process:
            try:
                code = str(process.wait(max(5.0, asked.left)))
            except subprocess.TimeoutExpired:
                code = "stopped"
                process.kill()
        said = log.read_text()
        print(said, flush=True)
        told = [line.strip() for line in said.splitlines() if line.startswith(("Baseline", "Each is", "Trainings"))]
        yield {
            "command": kind, "exit code": code, "seconds": time.monotonic() - began,
            "said": " ".join(told)[:600] or said.strip()[-300:],
        }  # fmt: skip
    for file in folder.glob("rows.json"):
        for row in json.loads(file.read_text())["rows"]:
            yield {"command": "row", **{key: row.get(key) for key in KEYS}}
