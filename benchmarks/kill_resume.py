"""A fine-tuning killed at random moments and started again until it ends, against one that nobody disturbs.

    python benchmarks/kill_resume.py --data data/flowers --weights FILE --kills 20

Both run the same command in folders of their own; the models must be equal bit for bit. To have an epoch's middle hit,
checkpoints within epochs are allowed after a second (usually twenty).
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from safetensors.torch import load_file

PROGRAM = """
import sys
from scalesearch.training import checkpoint
checkpoint.WITHIN_SECONDS = 1.0
from scalesearch.cli.main import run
sys.argv = ["scalesearch", *sys.argv[1:]]
run()
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    rng, place = random.Random(given.seed), Path(tempfile.mkdtemp())
    asked = [
        "finetune", "--model", "efficientnet_lite0", "--weights", given.weights, "--source-padding", "same",
        "--data", given.data, "--resolution", "64", "--epochs", "3", "--strategy", "gradual", "--ema", "0.9",
        "--device", "cpu",
    ]  # fmt: skip
    variables = {**os.environ, "OMP_NUM_THREADS": "1"}

    def start(folder: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", PROGRAM, *asked, "--out", str(place / folder)]
        return subprocess.Popen(command, env=variables, stdout=subprocess.DEVNULL)

    began = time.monotonic()
    if start("whole").wait() != 0:
        raise SystemExit("the undisturbed training failed")
    whole_seconds = time.monotonic() - began
    killed = within = 0
    checkpoint = place / "killed" / "checkpoint.safetensors"
    began = time.monotonic()
    while True:
        process = start("killed")
        try:
            if killed < given.kills:
                process.wait(timeout=rng.uniform(0.2, 0.6) * whole_seconds)
            if process.wait() != 0:
                raise SystemExit(f"failed after {killed} kills")
            break
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            killed += 1
            within += checkpoint.exists() and b'"begun": {' in checkpoint.read_bytes()[:200_000].replace(b"\\", b"")
    first, second = (load_file(place / name / "model.safetensors") for name in ("whole", "killed"))
    equal = first.keys() == second.keys() and all(torch.equal(tensor, second[name]) for name, tensor in first.items())
    print(
        f"{killed} kills, {within} of them with a checkpoint from the middle of an epoch; models bit-equal: {equal}; "
        f"{time.monotonic() - began:.0f} s, undisturbed {whole_seconds:.0f} s"
    )
    sys.exit(0 if equal and killed else 1)


if __name__ == "__main__":
    main()
