"""(a) ``pytest -m gpu``: what a GPU computes against the CPU's results, with the tolerances that the tests state."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.gpu.sheet import Request, Row

ROOT = Path(__file__).parents[2]
OUTCOMES = "PASSED|FAILED|SKIPPED|ERROR"
# with workers the outcome comes first, without them last
LINE = re.compile(rf"(?:\[gw\d+\].*?({OUTCOMES}) )?tests/\S+::(\S+)(?: ({OUTCOMES}))?")


def measure(asked: Request) -> Iterator[Row]:
    """A row for each test as it ends, so that a limit leaves the earlier ones; fails after them where one did."""
    workers = "0" if asked.tiny else "4"
    command = [
        sys.executable, "-m", "pytest", "-m", "gpu", "-v", "-n", workers, "-p", "no:cacheprovider",
        "-p", "no:benchmark", "tests/training", "tests/data",
    ]  # fmt: skip
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            match = LINE.match(line)
            if match and (outcome := match[1] or match[3]):
                yield {"test": match[2], "outcome": outcome.lower()}
    if process.returncode:
        raise SystemExit(process.returncode)
