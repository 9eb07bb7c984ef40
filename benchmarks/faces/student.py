"""A student's path, timed as a new user types it: 20 people, 10 photos each; fit, enroll, identify.

    python benchmarks/faces/student.py --data data/lfw_faces --weights data/weights/efficientnet_lite0_in1k_backbone.pth

Copies into a temporary folder: 20 people of test with 10 photos each to learn and up to 5 others to ask about, and
photos of 200 people of unknown as strangers (another 100 to ask about). Run it when nothing else runs.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PEOPLE, PHOTOS, ASKED = 20, 10, 5


def copied(source: Path, folder: Path, photos: slice) -> None:
    folder.mkdir(parents=True)
    for file in sorted(source.iterdir())[photos]:
        shutil.copy(file, folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--options", nargs="*", default=[], help="further options of faces fit, without dashes")
    given = parser.parse_args()
    weights = str(given.weights.resolve())
    everybody = sorted((given.data / "test").iterdir())
    people = [one for one in everybody if len(list(one.iterdir())) > PHOTOS][:PEOPLE]
    strangers = sorted((given.data / "unknown").iterdir())
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for one in people:
            copied(one, root / "people" / one.name, slice(0, PHOTOS))
            copied(one, root / "new" / one.name, slice(PHOTOS, PHOTOS + ASKED))
        for one in strangers[:200]:
            copied(one, root / "strangers" / one.name, slice(0, None))
        for one in strangers[200:300]:
            copied(one, root / "visitors" / one.name, slice(0, None))
        total = 0.0
        for command in (
            ["fit", "--data", "people", "--model", "efficientnet_lite0", "--weights", weights, "--source-padding",
             "same", *(f"--{option}" for option in given.options)],
            ["enroll", "people", "--strangers", "strangers"],
            ["identify", "new", "--out", "new.json"],
            ["identify", "visitors", "--out", "visitors.json"],
        ):  # fmt: skip
            began = time.perf_counter()
            ended = subprocess.run(
                [sys.executable, "-m", "scalesearch", "faces", *command], cwd=root, check=True, text=True,
                capture_output=True, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            )  # fmt: skip
            seconds = time.perf_counter() - began
            total += seconds
            print(
                f"$ scalesearch faces {' '.join(command).replace(weights, 'FILE')}\n{ended.stdout}  [{seconds:.0f} s]"
            )
        new, visitors = (json.loads((root / f"{name}.json").read_text()) for name in ("new", "visitors"))
        right = sum(row["name"] == Path(row["file"]).parent.name for row in new)
        nearest = sum(row["nearest"] == Path(row["file"]).parent.name for row in new)
        print(f"new photos of members: {right} of {len(new)} recognised, {nearest} with the right person nearest")
        print(f"visitors: {sum(row['member'] for row in visitors)} of {len(visitors)} photos taken for a member")
        print(f"in all {total:.0f} s")


if __name__ == "__main__":
    main()
