"""Wall time of the commands that should answer at once, as whole processes.

    python benchmarks/startup.py --repeats 11

Prints the median, the fastest and the slowest of each; the aims are 0.3 s for --help and 1 s for scale --phi 3.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time

COMMANDS: tuple[tuple[str, ...], ...] = (
    ("--help",),
    ("scale", "--phi", "3"),
    ("family",),
    ("baseline", "--target-flops", "50M"),
)
ENTRY = "from scalesearch.cli.main import run; run()"


def seconds(arguments: tuple[str, ...], folder: str) -> float:
    """Wall time of one process."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", ENTRY, *arguments], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=11)
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory() as folder:
        for command in COMMANDS:
            seconds(command, folder)  # not counted: reads the files from disk
        taken = [[seconds(command, folder) for command in COMMANDS] for _ in range(repeats)]
    print(f"{'command':<30} {'median s':>9} {'fastest':>8} {'slowest':>8}")
    for command, values in zip(COMMANDS, zip(*taken, strict=True), strict=True):
        print(f"{' '.join(command):<30} {statistics.median(values):9.3f} {min(values):8.3f} {max(values):8.3f}")


if __name__ == "__main__":
    main()
