"""Faces by the command line: the whole path, and mistakes."""

import json
import shutil
import stat
import textwrap
from pathlib import Path

import pytest

from tests.cli.conftest import Cli, Ended
from tests.faces.conftest import MakePeople, make_people, write_people
from tests.stress.commands import call, inside
from tests.stress.originals import face_networks

__all__ = ["make_people"]
FIT = ("faces", "fit", "--model", "mbconv_small", "--weights", "scratch", "--resolution", 24, "--epochs", 8,
       "--people", 6, "--photos", 3, "--lr", "3e-3", "--dimensions", 16, "--keep", "trained",
       "--device", "cpu")  # fmt: skip


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ended]:
    """A folder with train/, 30 people, and m/, trained on them; what was printed."""
    root = tmp_path_factory.mktemp("faces")
    write_people(root / "train", 30, 5, 0)
    with inside(root):
        ended = call(*FIT, "--data", "train", "--out", "m")
    return root, Ended(ended.code, ended.out, ended.err)


@pytest.fixture
def trained(cli: Cli, made: tuple[Path, Ended]) -> str:
    """The model, and train/ beside it, in the folder that commands run in."""
    shutil.copytree(made[0], ".", dirs_exist_ok=True)
    return "m/model.safetensors"


def test_training_says_what_it_did_and_what_comes_next(made: tuple[Path, Ended]) -> None:
    root, ended = made
    assert ended.code == 0, ended.err
    assert "120 photos of 30 people; judged by 30 further photos of theirs" in ended.out
    assert "Kept (--keep trained): the trained one, m/model.safetensors" in ended.out
    assert "Next: scalesearch faces enroll PEOPLE --body m/model.safetensors" in ended.out
    metrics = json.loads((root / "m" / "metrics.json").read_text())
    assert metrics["history"][-1]["train_loss"] < metrics["history"][0]["train_loss"]


def test_from_photos_to_names(cli: Cli, make_people: MakePeople, trained: str) -> None:
    members = make_people("members", people=5, photos=4, first=50)
    strangers = make_people("strangers", people=40, photos=3, first=200)
    where = ("--body", trained, "--gallery", "g.safetensors")
    enrolled = cli("faces", "enroll", members, *where, "--strangers", strangers, "--fpir", 0.05, "--json")
    assert enrolled.code == 0, enrolled.err
    values = json.loads(enrolled.out)
    assert (values["people"], values["photos"], values["threshold"]["basis"]) == (5, 20, "strangers")
    assert values["threshold"]["people"] == 40
    shown = make_people("shown", people=5, photos=7, first=50)
    rows = json.loads(cli("faces", "identify", shown, *where, "--json").out)
    named = [row for row in rows if row["member"]]
    assert len(rows) == 35
    assert len(named) > 15
    assert sum(row["name"] in row["file"] for row in named) > 0.8 * len(named)
    others = json.loads(cli("faces", "identify", strangers, *where, "--json").out)
    assert sum(row["member"] for row in others) <= 0.05 * len(others)
    printed = cli("faces", "identify", shown, *where, "--out", "names.csv").out
    assert "as 5.0 % of strangers are" in printed
    assert "Were all 35 faces of people who are no members" in printed
    assert Path("names.csv").read_text().startswith("file,face,faces,name,member")
    assert "person050" in cli("faces", "list", "--gallery", "g.safetensors").out
    assert cli("faces", "remove", "person050", "--gallery", "g.safetensors").code == 0
    assert b"person050" not in Path("g.safetensors").read_bytes()
    left = cli("faces", "list", "--gallery", "g.safetensors").out
    assert "strangers' photos" in left  # the threshold that was fitted on them stays
    assert "members, each in turn" not in left


def test_evaluation_writes_tables_and_figures(cli: Cli, make_people: MakePeople, trained: str) -> None:
    members = make_people("members", people=6, photos=4, first=50)
    strangers = make_people("strangers", people=20, photos=2, first=200)
    ended = cli("faces", "evaluate", members, "--body", trained, "--strangers", strangers, "--fpir", 0.1, "--out", "e")
    assert ended.code == 0, ended.err
    assert "TAR at FAR 0.01" in ended.out
    assert "TPIR at FPIR 0.1" in ended.out
    for name in ("roc.png", "distances.svg", "open_set.png", "per_person.csv", "evaluation.md", "evaluation.json"):
        assert (Path("e") / name).stat().st_size > 0
    assert "person050" in Path("e/evaluation.md").read_text()


def test_without_strangers_it_says_what_the_threshold_rests_on(cli: Cli, trained: str) -> None:
    ended = cli("faces", "enroll", "train", "--body", trained, "--gallery", "g.safetensors")
    assert ended.code == 0, ended.err
    assert "members, each in turn taken for a stranger" in ended.out
    assert "no photos of strangers" in ended.out
    assert "trained on these people" in ended.out


def test_mistakes_are_said(cli: Cli, make_people: MakePeople, trained: str) -> None:
    def refused(*arguments: object) -> str:
        ended = cli("faces", *arguments)
        assert ended.code == 2, (ended.out, ended.err)
        assert "Traceback" not in ended.err
        return ended.err

    where = ("--body", trained, "--gallery", "g.safetensors")
    assert "no such file" in refused("identify", "train", *where)
    assert cli("faces", "enroll", make_people("one", people=1, photos=1, first=70), *where).code == 0
    assert "the gallery has no threshold yet" in refused("identify", "train", *where)
    assert cli("faces", "enroll", make_people("two", people=2, photos=2, first=80), *where).code == 0
    assert "there are members among them: person080" in refused("enroll", "--strangers", "two", *where)
    shutil.copytree("two/person080", "again/somebody")
    assert "enrolled as person080" in refused("enroll", "again", *where)
    assert "enrolled as person080" in refused("enroll", "--strangers", "again", *where)
    assert "--fpir" in refused("enroll", "two", *where, "--fpir", 2)
    assert "trained on" in refused("evaluate", "train", "--body", trained)
    assert "no folder of a person" in refused("fit", "--data", "train/person000")
    other = cli(*FIT[:-2], "--epochs", 1, "--device", "cpu", "--data", "train", "--out", "n")
    assert other.code == 0, other.err
    assert "Give the body that made it with --body, or enrol everybody again" in refused(
        "identify", "train", "--body", "n/model.safetensors", "--gallery", "g.safetensors"
    )
    Path("pairs.csv").write_text("a,b\n")
    assert "it has no column same" in refused("evaluate", "two", "--body", trained, "--pairs", "pairs.csv")
    assert "nobody of that name" in refused("remove", "nobody", "--gallery", "g.safetensors")


def test_a_face_model_is_no_classifier_and_says_so(cli: Cli, make_people: MakePeople, trained: str) -> None:
    ended = cli("predict", trained, make_people("shown", people=2, photos=2))
    assert ended.code == 2
    assert "it is a scalesearch-faces file, not a scalesearch-network file" in ended.err


def test_a_resnet_is_a_body_too(cli: Cli, make_people: MakePeople) -> None:
    people = make_people("people", people=6, photos=4)
    asked = ("--model", "resnet50", "--weights", "scratch", "--resolution", 32, "--epochs", 1, "--people", 3)
    ended = cli("faces", "fit", "--data", people, *asked, "--photos", 2, "--device", "cpu", "--out", "r")
    assert ended.code == 0, ended.err
    enrolled = cli("faces", "enroll", people, "--body", "r/model.safetensors", "--gallery", "r/g.safetensors", "--json")
    assert json.loads(enrolled.out)["people"] == 6


def test_another_network_is_brought_by_a_card_that_the_message_gives(cli: Cli, make_people: MakePeople) -> None:
    people = make_people("people", people=2, photos=2)
    Path("body.onnx").write_bytes(face_networks(Path())[0])
    asked = ("faces", "enroll", people, "--gallery", "g.safetensors", "--no-crop", "--body")
    refused = cli(*asked, "body.onnx")
    assert refused.code == 2
    said, *card = refused.err.rstrip().split("\n")
    assert said.endswith("Write a card beside it, a file NAME.toml, and give that:")
    Path("body.toml").write_text(textwrap.dedent("\n".join(card)).replace("112", "16"))
    ended = cli(*asked, "body.toml")
    assert ended.code == 0, ended.err
    assert "Note: body body: where its terms are said" in ended.out
    assert "Next: scalesearch faces identify PHOTOS --body body.toml --gallery g.safetensors" in ended.out
    Path("other.toml").write_text(Path("body.toml").read_text().replace("arcface", "dlib"))
    other = cli(*asked, "other.toml")
    assert other.code == 2
    assert "Give the body that made it with --body, or enrol everybody again into a new --gallery." in other.err


def test_a_gallery_is_searched_as_it_was_made(cli: Cli, make_people: MakePeople, trained: str) -> None:
    people, where = make_people("members", people=4, photos=3, first=50), ("--body", trained, "--gallery", "g.st")
    assert cli("faces", "enroll", people, *where, "--no-crop").code == 0
    refused = cli("faces", "identify", people, *where, "--crop")
    assert refused.code == 2
    assert "the gallery was made with --no-crop" in refused.err
    assert cli("faces", "enroll", people, *where, "--crop").code == 2
    assert cli("faces", "identify", people, *where).code == 0


def test_removing_everybody_says_that_there_is_no_threshold(cli: Cli, make_people: MakePeople, trained: str) -> None:
    people, where = make_people("members", people=2, photos=2, first=50), ("--gallery", "g.st")
    assert cli("faces", "enroll", people, "--body", trained, *where).code == 0
    assert "There is no threshold any more" in cli("faces", "remove", "person050", *where).out
    assert "0 people left" in cli("faces", "remove", "person051", *where).out
    empty = cli("faces", "identify", people, "--body", trained, *where)
    assert (empty.code, "there is nobody in the gallery" in empty.err) == (2, True)


def test_what_fit_writes_is_for_its_owner(made: tuple[Path, Ended]) -> None:
    files = [one for one in (made[0] / "m").iterdir() if one.is_file() and one.name != ".lock"]
    assert {stat.S_IMODE(one.stat().st_mode) for one in files} == {0o600}
