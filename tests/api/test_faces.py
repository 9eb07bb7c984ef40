"""Faces from Python: the functions that the commands call."""

from pathlib import Path

import pytest

from scalesearch.api import faces
from scalesearch.errors import UserError
from tests.faces.conftest import MakePeople, make_people

__all__ = ["make_people"]
SMALL = {"model": "mbconv_small", "weights": "scratch", "resolution": 24, "epochs": 2, "people": 4, "photos": 2,
         "dimensions": 8, "device": "cpu"}  # fmt: skip


def test_from_training_to_names(make_people: MakePeople, tmp_path: Path) -> None:
    told: list[str] = []
    people = make_people("people", people=30, photos=5)
    settings = {**SMALL, "epochs": 8, "people": 6, "photos": 3, "lr": 3e-3, "dimensions": 16, "keep": "trained"}
    result = faces.fit(people, out=tmp_path / "m", tell=told.append, **settings)
    assert result.file == tmp_path / "m" / "model.safetensors"
    assert result.metrics["config"]["strategy"] == "full"  # auto, without weights
    assert any("120 photos of 30 people; judged by 30 further photos of theirs" in line for line in told)
    assert any(line.startswith("epoch 8, loss") for line in told)
    where = {"body": result.file, "gallery": tmp_path / "g.safetensors", "device": "cpu"}
    members, strangers = (
        make_people("m2", people=4, photos=4, first=50),
        make_people("s", people=12, photos=2, first=80),
    )
    enrolled = faces.enroll(members, strangers=strangers, fpir=0.1, **where)
    assert (len(enrolled.people), enrolled.people) == (4, enrolled.gallery.names)
    assert enrolled.gallery.threshold is not None
    named = faces.identify(members, out=tmp_path / "names.csv", **where)
    assert (named.photos, len(named.rows)) == (16, 16)
    assert (tmp_path / "names.csv").read_text().startswith("file,face,faces,name,member")
    assert [row["file"] for row in named.rows] == sorted(str(file) for file in members.rglob("*.png"))
    judged = faces.evaluate(members, strangers=strangers, body=result.file, fpir=0.1, device="cpu")
    assert judged.values["open_set"]["members"] == 4
    gone = faces.remove("person050", gallery=where["gallery"])
    assert gone.threshold_kept
    assert faces.members(where["gallery"]).people == {f"person{n:03d}": 4 for n in (51, 52, 53)}


def test_a_strategy_that_freezes_needs_weights(make_people: MakePeople, tmp_path: Path) -> None:
    for strategy in ("head", "tail", "gradual"):
        with pytest.raises(UserError, match="Give --weights, or --strategy full"):
            faces.fit(make_people(strategy), out=tmp_path / "m", strategy=strategy, **SMALL)


def test_a_folder_of_another_training_says_in_what_it_differs(make_people: MakePeople, tmp_path: Path) -> None:
    people = make_people()
    faces.fit(people, out=tmp_path / "m", **SMALL)
    with pytest.raises(UserError, match=r"objective\.margin 0\.2, not 0\.3"):
        faces.fit(people, out=tmp_path / "m", margin=0.3, **SMALL)
