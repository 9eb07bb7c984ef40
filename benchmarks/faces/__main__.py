"""Renews reports/faces, from the measurements that are there on: python -m benchmarks.faces --data data

DATA holds lfw_faces/, lfw_photos/ and weights/efficientnet_lite0_in1k_backbone.pth. Everything anew takes about two
hours on two cores: delete results.jsonl and student.jsonl first, and run it when nothing else runs.
"""

import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
OUT = Path("reports/faces")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    data = parser.parse_args().data
    weights = data / "weights" / "efficientnet_lite0_in1k_backbone.pth"
    commands = [["run.py", "--data", data / "lfw_faces", "--weights", weights, "--out", OUT / "results.jsonl"]]
    if not (OUT / "student.jsonl").exists():
        commands.append(["student.py", "--data", data / "lfw_photos", "--out", OUT / "student.jsonl"])
    commands.append(["report.py", OUT / "results.jsonl"])
    for script, *arguments in commands:
        subprocess.run([sys.executable, HERE / str(script), *map(str, arguments)], check=True)


if __name__ == "__main__":
    main()
