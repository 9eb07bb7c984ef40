"""A student's path, timed as a new user types it: 20 people, 10, 5, 3 or 1 photo each, no training; enroll, identify.

    python benchmarks/faces/student.py --data data/lfw_photos --out reports/faces/student.jsonl

Copies into a temporary folder, uncut as the photos are: 20 people of test with so many photos to enrol and up to 16
others to ask about, photos of 200 people of unknown as strangers, and those of the other 200 as visitors. A photo
counts as recognised where the person is named on it, whoever else is; every face on the visitors' photos is theirs or
of somebody else who is no member. Run it when nothing else runs.

    python benchmarks/faces/student.py --data data/lfw_faces --weights FILE --out reports/faces/student.jsonl

does the same by the mission's first path, triplet training of an ImageNet body on the 20 people.
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
from typing import Any

PEOPLE, MOST, ASKED = 20, 10, 16


def copied(source: Path, folder: Path, photos: slice) -> None:
    folder.mkdir(parents=True)
    for file in sorted(source.iterdir())[photos]:
        shutil.copy(file, folder)


def laid_out(data: Path, root: Path, photos: int) -> None:
    everybody = sorted((data / "test").iterdir())
    people = [one for one in everybody if len(list(one.iterdir())) > MOST][:PEOPLE]
    strangers = sorted((data / "unknown").iterdir())
    for one in people:
        copied(one, root / "people" / one.name, slice(0, photos))
        copied(one, root / "new" / one.name, slice(MOST, MOST + ASKED))
    for one in strangers[:200]:
        copied(one, root / "strangers" / one.name, slice(0, None))
    for one in strangers[200:]:
        copied(one, root / "visitors" / one.name, slice(0, None))


def timed(root: Path, command: list[str], shown: str = "") -> float:
    """Seconds of one command; what it prints, with ``shown`` (a path of this machine) left out."""
    began = time.perf_counter()
    ended = subprocess.run(
        [sys.executable, "-m", "scalesearch", "faces", *command], cwd=root, check=True, text=True, capture_output=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "COLUMNS": "100"},
    )  # fmt: skip
    seconds = time.perf_counter() - began
    line = " ".join(command)
    print(f"$ scalesearch faces {line.replace(shown, 'FILE') if shown else line}\n{ended.stdout}  [{seconds:.0f} s]")
    return seconds


def path(data: Path, photos: int, weights: Path | None) -> dict[str, Any]:
    """The whole path with so many photos of each person."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        laid_out(data, root, photos)
        seconds, body = {}, []
        if weights is not None:
            seconds["fit"] = timed(
                root, ["fit", "--data", "people", "--model", "efficientnet_lite0", "--weights", str(weights),
                       "--source-padding", "same", "--keep", "trained"], str(weights),
            )  # fmt: skip
            body = ["--body", "runs/faces/model.safetensors"]
        seconds["enroll"] = timed(root, ["enroll", "people", "--strangers", "strangers", *body])
        seconds["identify"] = timed(root, ["identify", "new", "--out", "new.json", *body])
        timed(root, ["identify", "visitors", "--out", "visitors.json", *body])
        listed = subprocess.run(
            [sys.executable, "-m", "scalesearch", "faces", "list", "--json"], cwd=root, check=True, text=True,
            capture_output=True, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )  # fmt: skip
        new, visitors = (json.loads((root / f"{part}.json").read_text()) for part in ("new", "visitors"))
    files = {row["file"] for row in new}
    named = {row["file"] for row in new if row["name"] == Path(row["file"]).parent.name}
    near = {row["file"] for row in new if row["nearest"] == Path(row["file"]).parent.name}
    faces = [row for row in visitors if not row["error"]]
    threshold = json.loads(listed.stdout)["threshold"]
    return {
        "arm": "student" if weights is None else "student_triplet", "photos": photos, "asked": len(files),
        "recognised": len(named), "nearest": len(near), "visitor_faces": len(faces),
        "let_in": sum(row["member"] for row in faces), "low": threshold["low_next"], "high": threshold["high_next"],
        "seconds": seconds,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, help="ImageNet weights of EfficientNet-Lite0: train on the people")
    parser.add_argument("--photos", type=int, nargs="*", default=[10, 5, 3, 1])
    parser.add_argument("--out", type=Path, required=True, help="a row is appended for each number of photos")
    given = parser.parse_args()
    for photos in given.photos:
        row = path(given.data, photos, given.weights and given.weights.resolve())
        with given.out.open("a") as out:
            out.write(json.dumps(row) + "\n")
        print(json.dumps(row))


if __name__ == "__main__":
    main()
