"""How many faces ``--crop`` finds: faces pasted on photos of flowers, several sizes and turns, and flowers alone.

    python benchmarks/faces/detect.py --faces data/lfw_faces/test --background data/flowers/test

The pasted faces are tight crops with a hard edge, so this is harder than photos as people take them.
"""

import argparse
import json
import time

import numpy as np
from PIL import Image, ImageDraw

from scalesearch.faces.photos import detector
from scalesearch.training.evaluation import image_files

CANVAS = (480, 360)
SIZES, TURNS, EACH = (40, 80, 160, 240), (0, 15, 30, 60), 12


def pasted(
    background: Image.Image, face: Image.Image, size: int, turn: float, rng: np.random.Generator
) -> tuple[Image.Image, tuple[float, float]]:
    """The face as an oval, turned, somewhere on the background; and its middle."""
    photo = background.resize(CANVAS)
    oval = Image.new("L", (size, size), 0)
    ImageDraw.Draw(oval).ellipse((0, 0, size - 1, size - 1), fill=255)
    small = face.resize((size, size), Image.Resampling.BICUBIC)
    x, y = (int(rng.integers(0, side - size + 1)) for side in CANVAS)
    photo.paste(small.rotate(turn, Image.Resampling.BICUBIC), (x, y), oval)
    return photo, (x + size / 2, y + size / 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", required=True)
    parser.add_argument("--background", required=True)
    given = parser.parse_args()
    rng = np.random.default_rng(0)
    faces, grounds = image_files([given.faces]), image_files([given.background])
    detect = detector()
    seconds = []
    for size in SIZES:
        for turn in TURNS:
            hit = more = 0
            for _ in range(EACH):
                ground, face = (Image.open(rng.choice(files)).convert("RGB") for files in (grounds, faces))
                photo, (x, y) = pasted(ground, face, size, float(rng.choice((-turn, turn))), rng)
                began = time.perf_counter()
                boxes = detect(photo)
                seconds.append(time.perf_counter() - began)
                inside = [f for f in boxes if f.box[0] < x < f.box[2] and f.box[1] < y < f.box[3]]
                hit += bool(inside)
                more += len(boxes) - len(inside)
            print(json.dumps({"size_px": size, "turn": turn, "found": f"{hit}/{EACH}", "false": more}), flush=True)
    empty = [len(detect(Image.open(file).convert("RGB").resize(CANVAS))) for file in rng.choice(grounds, 60)]
    print(json.dumps({"photos_without_a_face": 60, "with_a_find": sum(count > 0 for count in empty)}))
    print(f"{1000 * np.median(seconds):.0f} ms a photo of {CANVAS[0]}×{CANVAS[1]} (median)")


if __name__ == "__main__":
    main()
