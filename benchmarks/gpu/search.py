"""(f) ``grid --target-flops 400M`` as a user types it: the plan, and as much of the first rung as the time allows."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.gpu.sheet import Request, Row

ROOT = Path(__file__).parents[2]


def measure(asked: Request) -> Iterator[Row]:
    """What the commands printed last, and the trainings that were finished."""
    folder = asked.out.resolve() / "f-run"
    target = ["--space", "mbconv_small", "--target-flops", "1M", "--images", "200", "--epochs", "2"]
    target = target if asked.tiny else ["--target-flops", "400M"]
    common = [sys.executable, "-m", "scalesearch", "grid", *target, "--device", asked.device, "--run", str(folder)]
    for kind, more in (("plan", ["--dry-run"]), ("first rung", ["--yes", "--trials", "1" if asked.tiny else "12"])):
        began = time.monotonic()
        try:
            ended = subprocess.run(
                [*common, *more], cwd=ROOT, capture_output=True, text=True, timeout=max(5.0, asked.left), check=False
            )
            code, said = str(ended.returncode), ended.stdout + ended.stderr
        except subprocess.TimeoutExpired as error:
            parts = [text.decode() if isinstance(text, bytes) else text or "" for text in (error.stdout, error.stderr)]
            code, said = "stopped", "".join(parts)
        print(said, flush=True)
        row: Row = {"command": kind, "exit code": code, "seconds": time.monotonic() - began}
        told = [line.strip() for line in said.splitlines() if line.startswith(("Baseline", "Each is", "Trainings"))]
        yield row | {"said": " ".join(told)[:600] if told else said.strip()[-300:]}
    for file in sorted(folder.glob("rows.json")):
        for row in json.loads(file.read_text())["rows"]:
            keys = ("name", "proxy_macs", "proxy_resolution", "epochs", "status", "top1", "seconds", "note", "reason")
            yield {"command": "row", **{key: row.get(key) for key in keys}}
