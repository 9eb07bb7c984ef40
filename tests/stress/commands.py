"""The commands that write files, on tiny models and images: what each is given, what it writes, and how it ends."""

import contextlib
import io
import json
import os
import shutil
import signal
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from scalesearch.design.spec import Head, NetSpec, Stage, Stem
from tests.faces.blocks import blocks_body
from tests.faces.conftest import write_people
from tests.stress.originals import write_run

CLASSES = ("class0", "class1")
FACES = ("--body", "body/blocks.toml", "--no-crop")


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    def complaint(self, *words: str) -> str:
        """What is wrong with this as a refusal: "" for one clear message with these words, and exit code 2."""
        if self.code != 2:
            return f"exit code {self.code} instead of 2: {self.out[-200:]} {self.err[-600:]}"
        if "Traceback" in self.err + self.out:
            return f"a traceback: {self.err[-600:]}"
        messages = [line for line in self.err.splitlines() if line.startswith(("Error: ", "Usage: "))]
        if len(messages) != 1:
            return f"{len(messages)} messages: {self.err[-600:]}"
        missing = [word for word in words if word not in messages[0]]
        return f"without {missing}: {messages[0]}" if missing else ""


def call(*arguments: object) -> Ended:
    """``scalesearch ARGUMENTS`` in this process and folder, by its entry point."""
    from scalesearch.cli.main import run

    out, err, given = io.StringIO(), io.StringIO(), sys.argv
    handlers = [(one, signal.getsignal(one)) for one in (signal.SIGINT, signal.SIGTERM)]
    sys.argv = ["scalesearch", *map(str, arguments)]
    code = 0
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            run()
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else int(bool(leaving.code))
    finally:
        sys.argv = given
        for one, handler in handlers:
            signal.signal(one, handler)
    return Ended(code, out.getvalue(), err.getvalue())


@dataclass(frozen=True)
class Writer:
    """A command that writes.

    Args:
        arguments: of the command, in the site's folder.
        outputs: files and folders that it writes, which an undisturbed run makes alike, bit for bit.
        kept: names below those that hold its state, or times, and may differ.
    """

    arguments: tuple[str, ...]
    outputs: tuple[str, ...]
    kept: tuple[str, ...] = ()


TRAINING = ("training.json", "checkpoint.safetensors", "frozen.safetensors", "inheritance.json", ".lock")
TIMED = ("metrics.json", "model_card.md")  # they say when, and how long it took
WRITERS: Mapping[str, Writer] = {
    "export onnx": Writer(("export", "model.safetensors", "--format", "onnx", "--out", "x.onnx"), ("x.onnx",)),
    "export torch-export": Writer(
        ("export", "model.safetensors", "--format", "torch-export", "--out", "x.pt2"), ("x.pt2",)
    ),
    "export torchvision": Writer(
        ("export", "model.safetensors", "--format", "torchvision", "--out", "x.safetensors"), ("x.safetensors",)),
    "report": Writer(("report", "run", "--out", "report"), ("report",)),
    "comparison": Writer(("report", "run", "run2", "--out", "comparison"), ("comparison",)),
    "evaluate": Writer(("evaluate", "model.safetensors", "--data", "images", "--out", "evaluation"), ("evaluation",)),
    "predict csv": Writer(("predict", "model.safetensors", "images/test", "--out", "p.csv"), ("p.csv",)),
    "predict json": Writer(("predict", "model.safetensors", "images/test", "--out", "p.json"), ("p.json",)),
    "scale": Writer(("scale", "--run", "run", "--phi", "1", "--out", "spec.json"), ("spec.json",)),
    "finetune": Writer(
        ("finetune", "--model", "mbconv_small", "--data", "images", "--epochs", "2", "--batch-size", "8",
         "--resolution", "16", "--device", "cpu", "--out", "tuned"), ("tuned",), (*TRAINING, *TIMED),
    ),
    "faces fit": Writer(
        ("faces", "fit", "--model", "mbconv_small", "--weights", "scratch", "--data", "people", "--resolution", "24",
         "--epochs", "2", "--people", "3", "--photos", "2", "--dimensions", "8", "--held-out", "0", "--no-crop",
         "--strategy", "full", "--device", "cpu", "--out", "fitted"), ("fitted",), (*TRAINING, *TIMED),
    ),
    "faces enroll": Writer(
        ("faces", "enroll", "people", *FACES, "--gallery", "new.safetensors", "--strangers", "others", "--fpir",
         "0.2"), ("new.safetensors",), (".new.safetensors.lock",),
    ),
    "faces identify": Writer(
        ("faces", "identify", "photos", *FACES, "--gallery", "gallery.safetensors", "--out", "who.csv", "--page",
         "page.html", "--annotate", "marked", "--sort-into", "sorted"), ("who.csv", "page.html", "marked", "sorted"),
    ),
    "faces strangers": Writer(
        ("faces", "strangers", "photos", *FACES, "--gallery", "gallery.safetensors", "--out", "unknown"), ("unknown",)
    ),
    "faces evaluate": Writer(
        ("faces", "evaluate", "people", *FACES, "--strangers", "others", "--fpir", "0.2", "--out", "judged"),
        ("judged",),
    ),
}  # fmt: skip
FRESH = ("faces identify", "faces strangers", "faces enroll")  # do not write over what is there, or read it


def prepare(folder: Path) -> Path:
    """What the commands are given: images, models, runs, people, a gallery."""
    from scalesearch.data.batches import IMAGENET_STATISTICS
    from scalesearch.nets.modules import build
    from scalesearch.nets.weights import save_network
    from scalesearch.training.model_file import metadata_of

    folder.mkdir(parents=True, exist_ok=True)
    small_images(folder / "images")
    network = build(tiny_efficientnet(), seed=0)
    save_network(folder / "model.safetensors", network, metadata_of(IMAGENET_STATISTICS, "images"), CLASSES)
    for run in ("run", "run2"):
        write_run(folder / run)
    write_people(folder / "people", 4, 5, 0)
    write_people(folder / "others", 6, 3, 100)
    write_people(folder / "photos", 2, 2, 0)
    write_people(folder / "photos", 2, 2, 200)
    blocks_body(folder / "body")
    with inside(folder):
        made = call("faces", "enroll", "people", *FACES, "--gallery", "gallery.safetensors", "--strangers", "others",
                    "--fpir", "0.2")  # fmt: skip
    assert made.code == 0, made.err
    return folder


def tiny_efficientnet() -> NetSpec:
    """A few thousand weights that every format can hold."""
    stages = (Stage(8, 1, 3, 1, expand_ratio=1), Stage(16, 2, 5, 2, expand_ratio=3))
    return NetSpec("tiny", 32, Stem(8), stages, Head(24), classes=len(CLASSES))


def small_images(folder: Path) -> None:
    """Two classes of noisy one-colour images."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 12), ("test", 6)):
        for label, name in enumerate(CLASSES):
            (folder / part / name).mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 200, (20, 20, 3))
                pixels[..., label] += 40
                Image.fromarray(pixels.astype(np.uint8)).save(folder / part / name / f"{number:03d}.png")


@contextlib.contextmanager
def inside(folder: Path) -> Iterator[None]:
    """With that working folder, and a cache of decoded images there."""
    before, cache = Path.cwd(), os.environ.get("SCALESEARCH_CACHE")
    os.chdir(folder)
    os.environ["SCALESEARCH_CACHE"] = str(folder / "cache")
    try:
        yield
    finally:
        os.chdir(before)
        if cache is None:
            del os.environ["SCALESEARCH_CACHE"]
        else:
            os.environ["SCALESEARCH_CACHE"] = cache


def contents(folder: Path, writer: Writer) -> dict[str, bytes]:
    """What a writer's outputs hold, but for what may differ."""
    files = [file for name in writer.outputs for file in (folder / name, *(folder / name).rglob("*")) if file.is_file()]
    return {file.relative_to(folder).as_posix(): _content(file) for file in files if file.name not in writer.kept}


def _content(file: Path) -> bytes:
    return said(file.read_bytes()) if file.suffix == ".safetensors" else file.read_bytes()


def said(content: bytes) -> bytes:
    """What a safetensors file says: the order of its header is a matter of chance."""
    if len(content) < 8:
        return content
    size = 8 + int.from_bytes(content[:8], "little")
    return json.dumps(json.loads(content[8:size]), sort_keys=True).encode() + content[size:]


def forget(folder: Path, writer: Writer) -> None:
    """Removes a writer's outputs."""
    for name in writer.outputs:
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name).unlink(missing_ok=True)


def put_old(folder: Path, name: str, files: Iterable[str]) -> dict[str, bytes]:
    """In the place of a writer's outputs older ones, of which a new one must not replace some; returns them."""
    forget(folder, WRITERS[name])
    for file in files if name not in FRESH else ():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(b"old")
    return contents(folder, WRITERS[name])


def leftovers(folder: Path) -> list[str]:
    """Temporary files and folders that nobody finished."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*unfinished*"))
