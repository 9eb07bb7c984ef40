"""Every command once, on tiny inputs made here, by the installed scalesearch and what it finds installed beside it.

``python -m tests.smoke FOLDER`` needs nothing but the package itself: so it is run with the lowest versions that
pyproject.toml allows, by the newest Python, and without any extra (``.ci/versions``). What an extra is missing for must
be refused in a sentence; everything else must end well, and have written what it says.
"""

import argparse
import contextlib
import importlib.util
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torchvision
from PIL import Image

from tests.postgres import binaries, server

EXTRAS: Mapping[str, tuple[str, ...]] = {
    "export": ("onnx", "onnxscript", "onnxruntime"), "parquet": ("pyarrow",), "heic": ("pillow_heif",),
    "faces": ("face_recognition_models", "facenet_pytorch", "scipy", "pytorch_metric_learning", "onnxruntime"),
    "ray": ("ray",), "postgresql": ("psycopg",), "timm": ("timm",), "tensorboard": ("tensorboard",),
    "mlflow": ("mlflow",), "wandb": ("wandb",),
}  # fmt: skip
LONGEST_SECONDS = 600  # of one command, on a busy machine
MODEL = "tuned/model.safetensors"


@dataclass(frozen=True)
class Step:
    """A command line.

    Args:
        words: of the command, split at blanks; of Python where they begin with "-c".
        extra: what it needs beyond the package, and is refused without.
        writes: a file that is there afterwards.
        says: words of its output.
        code: how it ends.
    """

    words: str
    extra: str = ""
    writes: str = ""
    says: str = ""
    code: int = 0


SEARCH = "--space mbconv_small --target-flops 1M --step 0.5 --tolerance 0.3 --epochs 4 --batch-size 8 --lr 0.01 --yes"
TUNE = "finetune --model mbconv_small --resolution 16 --batch-size 16 --device cpu"
CHAINS: Mapping[str, tuple[Step, ...]] = {
    "design": (
        Step("--version"),
        Step("--help", says="grid"),
        Step("doctor --json", says="torch"),
        Step("paper", says="b7"),
        Step("baseline --space mbconv_small --target-flops 2M --fvcore", says="FLOPs"),
        Step("family --published", says="b7"),
        Step("scale --space efficientnet_b0 --phi 1.5 --alpha 1.2 --beta 1.1 --gamma 1.15 --out spec.json",
             writes="spec.json"),
        Step(f"grid {SEARCH} --images 640 --dry-run", says="glyphs"),
        Step("device measure --spaces mbconv_small --minutes 0.2 --threads 1 --out device.json", writes="device.json"),
        Step("device show device.json", says="mbconv_small"),
        Step("device probe board --spaces mbconv_small", extra="export", writes="board/run.py"),
    ),
    "search": (
        Step(f"grid {SEARCH} --data images --jobs 2 --run run", writes="run/winners.json", says="Use depth"),
        Step(f"grid {SEARCH} --data images --run run --json", says='"rows"'),
        Step("family --run run"),
        Step("family --run run --train b0..b1 --against depth,torchvision:squeezenet1_1 --against-resolution 32 "
             "--seeds 2 --epochs 1 --lr 0.01 --jobs 2", writes="run/family/trained-images/families.html"),
        Step("verify --run run --members 1 --others 0 --seeds 1 --epochs 1 --jobs 1 --dry-run"),
        Step("verify --run run --members 1 --others 0 --seeds 1 --epochs 1 --jobs 1", writes="run/verify-phi2"),
        Step("user_script.py", says="top-1"),
        Step("report run", writes="run/report/report.html"),
        Step("report run run --out both", writes="both"),
        Step(f"grid {SEARCH} --data images --trials 1 --executor ray --jobs 1 --run rays", extra="ray",
             writes="rays/study.db"),
        Step(f"grid {SEARCH} --data images --trials 1 --jobs 1 --storage {{postgresql}} --run shared",
             extra="postgresql"),
    ),
    "use": (
        Step(f"{TUNE} --data images --epochs 2 --out tuned", writes=MODEL),
        Step(f"{TUNE} --data images --epochs 1 --out other --weights {MODEL} --strategy gradual",
             writes="other/model.safetensors"),
        Step(f"{TUNE} --data images --out found --find-lr", says="Suggested"),
        Step(f"{TUNE} --data images.parquet --epochs 1 --out tabled", extra="parquet", writes="tabled"),
        Step(f"{TUNE} --data images --epochs 1 --out board --log tensorboard", extra="tensorboard",
             writes="board/tensorboard"),
        Step(f"{TUNE} --data images --epochs 1 --out flow --log mlflow", extra="mlflow", writes="flow/mlflow"),
        Step(f"{TUNE} --data images --epochs 1 --out biases --log wandb", extra="wandb", writes="biases/wandb"),
        Step(f"evaluate {MODEL} --data images --out judged", writes="judged/calibration.png"),
        Step(f"predict {MODEL} images/test --out predictions.csv", writes="predictions.csv"),
        Step(f"predict {MODEL} photo.heic", extra="heic", says="1 images predicted"),
        Step(f"export {MODEL} --format onnx --out x.onnx", extra="export", writes="x.onnx"),
        Step(f"export {MODEL} --format onnx --dynamic-size --out y.onnx", extra="export", writes="y.onnx"),
        Step(f"export {MODEL} --format torch-export --out x.pt2", writes="x.pt2"),
        Step(f"export {MODEL} --format torch-export --dynamic-size --out y.pt2", writes="y.pt2"),
        Step(f"export {MODEL} --format hub --out hub", writes="hub/config.json"),
        Step("predict hub images/test --json", says="class0"),
        Step("export mobilenet.pth --format torchvision --out x.safetensors", writes="x.safetensors"),
        Step("export mobilenet.pth --format timm --out y.safetensors", extra="timm", writes="y.safetensors"),
    ),
    "faces": (
        Step("faces enroll people --strangers others --no-crop --fpir 0.2 --gallery gallery.safetensors",
             extra="faces", writes="gallery.safetensors"),
        Step("faces list --gallery gallery.safetensors", extra="faces", says="person000"),
        Step("faces identify people --no-crop --gallery gallery.safetensors --out who.csv --page who.html",
             extra="faces", writes="who.html"),
        Step("faces identify people --gallery gallery.safetensors --json", extra="faces"),
        Step("faces verify people/person000/0.png people/person001/0.png --no-crop", extra="faces"),
        Step("faces strangers others --no-crop --gallery gallery.safetensors --out unknown", extra="faces"),
        Step("faces evaluate people --no-crop --strangers others --fpir 0.2", extra="faces"),
        Step("faces remove person000 --gallery gallery.safetensors", extra="faces"),
        Step("faces fit --model mbconv_small --weights scratch --data people --resolution 24 --epochs 1 --people 3 "
             "--photos 2 --dimensions 8 --held-out 0 --no-crop --strategy full --device cpu --out fitted",
             extra="faces"),
    ),
}  # fmt: skip


def prepare(folder: Path, extras: frozenset[str]) -> None:
    """Writes what the commands are given: images in two classes, people and strangers, files that extras read."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)

    def picture(path: Path, channel: int) -> None:
        pixels = rng.integers(0, 160, (64, 64, 3))
        pixels[..., channel] += 90
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(path)

    for number in range(60):
        for label in (0, 1):
            picture(folder / "images" / ("train" if number < 40 else "test") / f"class{label}" / f"{number}.png", label)
    for name, first, people in (("people", 0, 4), ("others", 100, 6)):
        for person in range(first, first + people):
            for photo in range(4):
                picture(folder / name / f"person{person:03d}" / f"{photo}.png", person % 3)
    if "parquet" in extras:
        import pyarrow
        import pyarrow.parquet

        files = sorted((folder / "images").rglob("*.png"))
        columns = {"path": list(map(str, files)), "label": [file.parent.name for file in files]}
        pyarrow.parquet.write_table(pyarrow.table(columns), folder / "images.parquet")
    if "heic" in extras:
        import pillow_heif

        pillow_heif.from_pillow(Image.new("RGB", (64, 64), "red")).save(folder / "photo.heic")
    torch.save(torchvision.models.mobilenet_v2().state_dict(), folder / "mobilenet.pth")
    shutil.copy(Path(__file__).parent / "user_script.py", folder)


def run(step: Step, folder: Path, extras: frozenset[str], environment: Mapping[str, str]) -> str:
    """Runs a step; what is wrong with how it ended, "" for nothing."""
    words = [word.replace("{postgresql}", environment.get("SMOKE_POSTGRESQL", "")) for word in step.words.split()]
    program = words if words[0].endswith(".py") else ["-m", "scalesearch", *words]
    there = not step.extra or step.extra in extras
    ended = subprocess.run(
        [sys.executable, "-P", *program], cwd=folder, env=dict(environment), stdin=subprocess.DEVNULL, text=True,
        capture_output=True, check=False, timeout=LONGEST_SECONDS, encoding="utf-8",
    )  # fmt: skip
    wrong = []
    if ended.returncode != (0 if there else 2):
        wrong.append(f"exit code {ended.returncode}")
    if "Traceback" in ended.stderr:
        wrong.append("a traceback")
    if there and step.says not in ended.stdout:
        wrong.append(f"without {step.says!r}")
    if there and not (folder / step.writes).exists():
        wrong.append(f"no {step.writes}")
    return f"{', '.join(wrong)}\n{ended.stdout[-600:]}\n{ended.stderr[-3000:]}" if wrong else ""


def chain(steps: Iterable[Step], folder: Path, extras: frozenset[str], environment: Mapping[str, str]) -> list[str]:
    """Runs steps one after the other, and says of each how it ended; returns those that failed."""
    failed = []
    for step in steps:
        if step.extra == "postgresql" and "SMOKE_POSTGRESQL" not in environment and step.extra in extras:
            print(f"skipped: {step.words}: no PostgreSQL server here", flush=True)
            continue
        began = time.monotonic()
        wrong = run(step, folder, extras, environment)
        refused = " (refused)" if step.extra and step.extra not in extras else ""
        print(
            f"{'FAILED' if wrong else 'ok'} {time.monotonic() - began:.0f} s{refused}: {step.words} {wrong}", flush=True
        )
        failed += [step.words] if wrong else []
    return failed


def main(folder: Path, extras_alone: bool) -> int:
    """Runs as many chains at a time as there are cores; the exit code says whether all steps ended as they should."""
    extras = frozenset(
        name for name, modules in EXTRAS.items() if all(importlib.util.find_spec(module) for module in modules)
    )
    print(f"Python {sys.version.split()[0]}, with {', '.join(sorted(extras)) or 'no extras'}", flush=True)
    chains = [[step for step in steps if step.extra or not extras_alone] for steps in CHAINS.values()]
    with contextlib.ExitStack() as stack:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "SCALESEARCH_CACHE": str(folder / "cache")}
        if "postgresql" in extras and binaries() is not None:
            environment["SMOKE_POSTGRESQL"] = stack.enter_context(server()).url
        prepare(folder, extras)
        pool = stack.enter_context(ThreadPoolExecutor(len(os.sched_getaffinity(0))))
        failed = [
            one for ended in pool.map(lambda one: chain(one, folder, extras, environment), chains) for one in ended
        ]
    print(f"{sum(map(len, chains)) - len(failed)} ended as they should, {len(failed)} did not: {'; '.join(failed)}")
    return bool(failed)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where it works; its files stay")
    parser.add_argument("--extras-alone", action="store_true", help="what was refused in a first run in FOLDER")
    asked = parser.parse_args()
    sys.exit(main(asked.folder.resolve(), asked.extras_alone))
