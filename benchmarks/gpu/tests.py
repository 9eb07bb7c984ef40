"""(a) ``pytest -m gpu``: what a GPU computes against the CPU's results, with the tolerances that the tests state."""

import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

from benchmarks.gpu.sheet import Request, Row

ROOT = Path(__file__).parents[2]


def measure(asked: Request) -> Iterator[Row]:
    """A row for each test; fails after them where one of them did."""
    report = asked.out.resolve() / "a.xml"
    workers = "0" if asked.tiny else "4"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-m",
        "gpu",
        "-v",
        "-n",
        workers,
        "-p",
        "no:cacheprovider",
        "-p",
        "no:benchmark",
    ]
    command += [f"--junitxml={report}", "tests/training", "tests/data"]
    ended = subprocess.run(command, cwd=ROOT, timeout=asked.left + 5, check=False, env={**os.environ, "CI": ""})
    cases = ET.parse(report).getroot().iter("testcase") if report.exists() else ()
    for case in cases:
        trouble = next((child for child in case if child.tag in ("failure", "error", "skipped")), None)
        yield {
            "test": case.get("name"), "outcome": "passed" if trouble is None else trouble.tag,
            "seconds": float(case.get("time", "0")),
            "message": "" if trouble is None else (trouble.get("message") or "").splitlines()[0][:300],
        }  # fmt: skip
    if ended.returncode:
        raise SystemExit(ended.returncode)
