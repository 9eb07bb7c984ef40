"""Runs docs/tutorial.md: its commands, in their order, and writes what they print, and draw, into the page.

python docs/tutorial.py --data DIR    as the page says, in twelve minutes; DIR holds flowers/ (train/ and test/)
                                      and weights/efficientnet_lite0_in1k_backbone.pth; SCALESEARCH_DATA if left out
python docs/tutorial.py --short       the same commands with the values of SHORT, on coloured squares and weights drawn
                                      at random: a check, which needs no data and leaves the page as it is

The page holds all commands, and this script none. What it looks for there (see PIECE):

```sh                                  commands, run by bash in one folder; the first that fails ends everything
<!-- file: NAME -->, then ```python    a program, written to that folder
<!-- output from BEGIN: W; W -->       here goes what the commands since the last output printed, from the line on that
... <!-- end -->                       begins with BEGIN (all of it without "from"); each W must stand in it
<!-- figure: PATH -->, then ![](NAME)  the figure is copied from PATH to NAME
<!-- machine --> ... <!-- end -->      processor, system and versions
"""

import argparse
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from PIL import Image

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from scalesearch.design.space import load_space  # noqa: E402
from scalesearch.nets.modules import build  # noqa: E402
from scalesearch.running.provenance import hardware  # noqa: E402

PAGE = HERE / "tutorial.md"
WEIGHTS = "efficientnet_lite0_in1k_backbone.pth"
COPIES = ("train/daisy/10993710036_2033222c91.jpg", "test/daisy/10993818044_4c19b86c82.jpg")  # the page finds them
COLOURS = {
    "daisy": (170, 170, 170), "dandelion": (170, 170, 0), "rose": (170, 0, 0), "sunflower": (0, 170, 0),
    "tulip": (0, 0, 170),
}  # fmt: skip
SAME_PERCENT = 0.2  # as deployed and as trained: one decimal is printed, and bicubic may round otherwise
FOLD = 100  # characters of a line
PIECE = re.compile(
    r"```sh\n(?P<commands>.*?)```\n"
    r"|<!-- file: (?P<file>\S+) -->\n```python\n(?P<content>.*?)```\n"
    r"|(?P<opening><!-- output(?: from (?P<since>[^:]+))?: (?P<says>.*?) -->\n).*?<!-- end -->\n"
    r"|<!-- figure: (?P<figure>\S+) -->\n!\[[^\]]*\]\((?P<name>\S+)\)\n"
    r"|(?P<machine><!-- machine -->\n).*?<!-- end -->\n",
    re.DOTALL,
)
# Written on the page: run instead in the short form.
SHORT = {
    "--target-flops 60M": "--target-flops 6M",
    "--proxy-flops 3M --epochs 20": "--proxy-flops 2M --epochs 8 --batch-size 16",
    "--epochs 6": "--epochs 2 --batch-size 8",
}


def shortened(commands: str) -> str:
    """Commands of the page with the values of the short form."""
    for written, instead in SHORT.items():
        commands = commands.replace(written, instead)
    return commands


def made_up(folder: Path) -> None:
    """The short form's photos, whose classes differ in colour, with one copy as the real ones have; and weights."""
    rng = np.random.default_rng(0)
    for label, colour in COLOURS.items():
        for part, count in (("train", 32), ("test", 8)):
            (folder / "flowers" / part / label).mkdir(parents=True)
            for place in range(count):
                pixels = rng.integers(0, 80, (48, 64, 3)) + np.array(colour)
                path = folder / "flowers" / part / label / f"{place}.jpg"
                Image.fromarray(pixels.astype(np.uint8)).save(path)
    for name in COPIES:
        shutil.copy(folder / "flowers" / "train" / "daisy" / "0.jpg", folder / "flowers" / name)
    network = build(load_space("efficientnet_lite0").baseline, seed=0)
    for module in network.modules():  # its statistics are those of the photos, so that it tells them apart as it is
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    photos = [np.asarray(Image.open(path)) for path in sorted(folder.glob("flowers/train/*/?.jpg"))]
    torch.manual_seed(0)
    with torch.inference_mode():
        network.train()(torch.from_numpy(np.stack(photos)).permute(0, 3, 1, 2) / 255)
    state = {name: value for name, value in network.state_dict().items() if "classifier" not in name}
    torch.save(state, folder / WEIGHTS)


class Tutorial:
    """A run of the page in ``folder``; called with each of its pieces, it gives what stands there afterwards."""

    def __init__(self, folder: Path, short: bool) -> None:
        self.folder, self.short, self.printed, self.began = folder, short, "", time.monotonic()
        self.answers: dict[str, tuple[str, float]] = {}
        self.wrong: list[str] = []  # not fatal: what took twelve minutes is written, and then looked at
        tools = folder / ".bin"  # the scalesearch of this checkout, whatever else is installed
        tools.mkdir()
        for name, words in (("python", ""), ("scalesearch", " -m scalesearch")):
            (tools / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" -P{words} "$@"\n')
            (tools / name).chmod(0o755)
        self.environment = {
            **os.environ, "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(HERE.parent),
            "COLUMNS": "80", "NO_COLOR": "1", "LC_ALL": "C.UTF-8", "TERM": "dumb", "CUDA_VISIBLE_DEVICES": "",
            "SCALESEARCH_CACHE": str(folder / ".cache"),
        }  # fmt: skip

    def __call__(self, piece: re.Match[str]) -> str:
        if piece["commands"]:
            self._run(shortened(piece["commands"]) if self.short else piece["commands"])
        elif piece["file"]:
            (self.folder / piece["file"]).write_text(piece["content"], encoding="utf-8")
        elif piece["opening"]:
            return f"{piece['opening']}```\n{self._output(piece)}\n```\n<!-- end -->\n"
        elif piece["figure"]:
            figure = self.folder / piece["figure"]
            if not figure.read_bytes().startswith(b"\x89PNG"):
                raise SystemExit(f"{figure} is no PNG")
            if not self.short:
                (HERE / piece["name"]).parent.mkdir(exist_ok=True)
                shutil.copyfile(figure, HERE / piece["name"])
        return piece[0]

    def _run(self, commands: str) -> None:
        began = time.monotonic()
        ended = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands], cwd=self.folder, env=self.environment, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, encoding="utf-8",
        )  # fmt: skip
        print(f"{time.monotonic() - began:.0f} s: {commands.strip()}", flush=True)
        if ended.returncode:
            raise SystemExit(f"{ended.stdout}\nexit code {ended.returncode}")
        self.printed += ended.stdout

    def _output(self, piece: re.Match[str]) -> str:
        text, self.printed = self.printed.replace(f"{self.folder}/", "").replace(str(self.folder), "."), ""
        where = f"in what is printed at {piece['opening'].strip()}"
        self.wrong += [f"{words!r} is not {where}" for words in piece["says"].split("; ") if words not in text]
        private = (
            () if self.short else (str(HERE.parent), str(Path.home()), tempfile.gettempdir(), socket.gethostname())
        )
        self.wrong += [f"{one!r}, which is no reader's business, is {where}" for one in private if one in text]
        lines = [part.rstrip() for line in text.strip("\n").splitlines() for part in folded(line)]
        first = next((place for place, line in enumerate(lines) if line.startswith(piece["since"] or "")), 0)
        self._compare(text)
        return "\n".join([*["…"][:first], *lines[first:]])

    def _compare(self, text: str) -> None:
        """Whether a photo that an earlier output named is taken for the same now."""
        for file, label, percent in re.findall(r"^(new/\S+\.jpg):? +(\w+),? +([\d.]+) %", text, re.MULTILINE):
            before, was = self.answers.setdefault(file, (label, float(percent)))
            if before != label or abs(was - float(percent)) > SAME_PERCENT:
                self.wrong.append(f"{file} was {before}, {was} %, and now is {label}, {percent} %")


def folded(line: str) -> list[str]:
    """A long line as several."""
    return textwrap.wrap(line, FOLD, break_long_words=False, break_on_hyphens=False) if len(line) > FOLD else [line]


def machine(seconds: float) -> str:
    """What the outputs are of."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("scalesearch", "torch", "onnxruntime"))
    return (
        f"The outputs are of {hardware('cpu')}, {platform.system()}, Python {platform.python_version()}, {versions}; "
        f"all commands together took {seconds / 60:.0f} minutes."
    )


def main() -> None:
    """Runs the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("SCALESEARCH_DATA"), help="flowers/ and weights/")
    parser.add_argument("--short", action="store_true", help="only check that all commands run")
    parser.add_argument("--work", type=Path, help="a new folder to work in, which is kept; a temporary one if left out")
    asked = parser.parse_args()
    if not asked.short and asked.data is None:
        parser.error("--data or --short is needed")
    with tempfile.TemporaryDirectory() as temporary:
        folder = (asked.work or Path(temporary, "tutorial")).resolve()
        folder.mkdir(parents=True)
        if asked.short:
            made_up(folder)
        else:
            shutil.copytree(asked.data / "flowers", folder / "flowers", copy_function=shutil.copyfile)
            shutil.copyfile(asked.data / "weights" / WEIGHTS, folder / WEIGHTS)
        tutorial = Tutorial(folder, asked.short)
        page = PIECE.sub(tutorial, PAGE.read_text(encoding="utf-8"))
        took = machine(time.monotonic() - tutorial.began)
        page = PIECE.sub(lambda one: f"{one['machine']}{took}\n<!-- end -->\n" if one["machine"] else one[0], page)
        if not asked.short:
            PAGE.write_text(page, encoding="utf-8")
    if len({label for label, _ in tutorial.answers.values()}) < 2:
        tutorial.wrong.append("one class for all photos: that the network is deployed as it was trained is not shown")
    if tutorial.wrong:
        sys.exit("\n".join(tutorial.wrong))
    print(f"All commands ended well, in {time.monotonic() - tutorial.began:.0f} s")


if __name__ == "__main__":
    main()
