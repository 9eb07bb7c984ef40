"""What is said of a folder of people before a training."""

from pathlib import Path

import numpy as np
from PIL import Image

from scalesearch.faces.photos import Framing, list_people, read_crowd
from scalesearch.faces.portrait import sentences
from scalesearch.faces.train import divide
from tests.faces.conftest import MakePeople, portrait


def told(root: Path, size_px: int = 24) -> list[str]:
    crowd = read_crowd(list_people(root, "--data"), Framing(24), option="--data")
    return list(sentences(crowd, divide(crowd, None), str(root), size_px))


def reencoded(photo: Path, target: Path) -> None:
    """The same photo, one grey level brighter: no file or pixel of the two is equal."""
    brighter = np.clip(np.asarray(Image.open(photo)).astype(int) + 1, 0, 255).astype(np.uint8)
    Image.fromarray(brighter).save(target)


def test_people_photos_and_sizes(make_people: MakePeople) -> None:
    root = make_people(people=12, photos=3)
    Image.fromarray(portrait(90, 0)).save(root / "person000" / "more.png")
    first, people, sides, *rest = told(root)
    assert first.startswith("Photos of each person: person000 4, person001 3")
    assert people == "12 people, 37 photos: 3 to 4 of a person, 3 in the middle"
    assert sides == "Short sides: 24 px at least, 24 px in the middle (of a sample)"
    assert rest == []


def test_small_photos_single_ones_and_few_people(make_people: MakePeople) -> None:
    root = make_people(people=3, photos=2)
    (root / "person002" / "1.png").unlink()
    lines = told(root, size_px=112)
    assert "Note: your photos are smaller than half of the 112 px that the network is given: little to see." in lines
    assert "Note: people with one photo make no pair and are not trained on: person002" in lines
    assert any("only 2 people to learn from" in line for line in lines)


def test_copies_under_two_names_and_among_those_to_judge_by(make_people: MakePeople) -> None:
    root = make_people(people=12, photos=4)
    reencoded(root / "person003" / "0.png", root / "person005" / "x.png")
    own = root / "person007"
    for photo in sorted(own.iterdir()):
        reencoded(photo, own / f"again{photo.name}")
    lines = told(root)
    (twins,) = [line for line in lines if "two people" in line]
    assert twins.startswith("WARNING: 1 photo is in the folders of two people")
    assert "person003/0.png is person005/x.png" in twins
    (judged,) = [line for line in lines if "to judge by" in line]
    assert "person007/" in judged
    assert not any("copies" in line or "two people" in line for line in told(make_people("clean", people=12, photos=4)))
