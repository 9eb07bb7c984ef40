"""What the commands on faces hand out: copies, pages, comparisons of two photos, sets of strangers."""

import json
import shutil
import stat
from pathlib import Path

import pytest
from PIL import Image

from tests.cli.conftest import Cli
from tests.faces.blocks import blocks_body
from tests.faces.conftest import MakePeople, make_people, real_data
from tests.reports.pages import read

__all__ = ["make_people", "real_data"]
GALLERY = ("--gallery", "g.safetensors")


@pytest.fixture
def where(cli: Cli, make_people: MakePeople, tmp_path: Path) -> tuple[object, ...]:
    """A gallery of five members, its threshold fitted on forty strangers; the options that name it and its body."""
    options = ("--body", blocks_body(tmp_path / "body"), "--no-crop", *GALLERY)
    members, others = (
        make_people("members", people=5, photos=3, first=50),
        make_people("others", people=40, photos=3, first=200),
    )
    ended = cli("faces", "enroll", members, *options, "--strangers", others, "--fpir", 0.05)
    assert ended.code == 0, ended.err
    return options


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def refused(cli: Cli, *arguments: object) -> str:
    ended = cli("faces", *arguments)
    assert ended.code == 2, (ended.out, ended.err)
    assert "Traceback" not in ended.err
    return ended.err


def new_photos(make_people: MakePeople) -> Path:
    """Three new photos of each of two members, two of each of three strangers, and one that cannot be read."""
    folder = make_people("new", people=2, photos=6, first=50)
    for photo in folder.rglob("[012].png"):
        photo.unlink()
    shutil.copytree(make_people("unknown", people=3, photos=2, first=400), folder, dirs_exist_ok=True)
    (folder / "broken.png").write_bytes(b"no image")
    return folder


def test_photos_are_marked_sorted_and_shown_on_a_page(
    cli: Cli, make_people: MakePeople, where: tuple[object, ...]
) -> None:
    photos = new_photos(make_people)
    before = {path: path.read_bytes() for path in photos.rglob("*.png")}
    outputs = ("--annotate", "marked", "--sort-into", "sorted", "--page", "page.html")
    ended = cli("faces", "identify", photos, *where, *outputs)
    assert ended.code == 0, ended.err
    assert "Marked copies: 12 in marked" in ended.out
    assert "Sorted copies in sorted: 13" in ended.out
    assert "  person050: 3" in ended.out
    assert "  _nobody known: 6" in ended.out
    assert "Page: page.html" in ended.out
    assert {path: path.read_bytes() for path in photos.rglob("*.png")} == before
    marked = sorted(path.relative_to("marked").as_posix() for path in Path("marked").rglob("*.png"))
    assert marked == sorted(path.relative_to(photos).as_posix() for path in before if path.name != "broken.png")
    kept = sorted(path.relative_to("sorted").as_posix() for path in Path("sorted").rglob("*.png"))
    assert kept[:2] == ["_no face/broken.png", "_nobody known/0 (2).png"]
    assert kept[-3:] == ["person051/3.png", "person051/4.png", "person051/5.png"]
    files = [*Path("marked").rglob("*.png"), *Path("sorted").rglob("*.png"), Path("page.html")]
    assert {mode(path) for path in files} == {0o600}
    tree = read(Path("page.html").read_text())
    assert [one.text.strip() for one in tree.all("h2")] == [
        "person050", "person051", "Nobody known", "Photos without a face"
    ]  # fmt: skip
    assert [one.text.strip() for one in tree.all("h3")] == ["Seen on 2 photos"] * 3
    assert len(tree.all("img")) == 12


def test_a_hostile_name_is_text(cli: Cli, make_people: MakePeople, tmp_path: Path) -> None:
    options = ("--body", blocks_body(tmp_path / "body"), "--no-crop", *GALLERY)
    members = make_people("members", people=3, photos=3)
    (members / "person000").rename(members / "<script>alert(1)<")
    assert cli("faces", "enroll", members, *options).code == 0
    ended = cli("faces", "identify", members, *options, "--page", "p.html", "--annotate", "m", "--sort-into", "s")
    assert ended.code == 0, ended.err
    page = Path("p.html").read_text()
    assert "&lt;script&gt;alert(1)&lt;" in page
    assert "<script>alert" not in page
    assert "No photos of strangers were given" in page
    assert len(list(Path("s/<script>alert(1)<").iterdir())) == 3


def test_nothing_is_written_over(cli: Cli, make_people: MakePeople, where: tuple[object, ...]) -> None:
    photos = new_photos(make_people)
    Path("full").mkdir()
    Path("full/x").touch()
    for option in ("--annotate", "--sort-into"):
        assert "something in it already" in refused(cli, "identify", photos, *where, option, "full")
        assert "it lies in" in refused(cli, "identify", photos, *where, option, photos / "inside")
        assert not (photos / "inside").exists()
    same = refused(cli, "identify", photos, *where, "--annotate", "a", "--sort-into", "./a")
    assert "the folder of --annotate, too" in same
    assert ".html" in refused(cli, "identify", photos, *where, "--page", "page.png")
    assert "something in it already" in refused(cli, "strangers", photos, *where, "--out", "full")
    assert "it lies in" in refused(cli, "strangers", photos, *where, "--out", photos / "inside")


def test_two_photos_are_compared(cli: Cli, make_people: MakePeople, where: tuple[object, ...], tmp_path: Path) -> None:
    people = make_people("two", people=2, photos=3, first=300)
    a, b, c = people / "person300" / "0.png", people / "person300" / "1.png", people / "person301" / "0.png"
    body = ("--body", blocks_body(tmp_path / "body"), "--no-crop")
    one = cli("faces", "verify", a, b, *body)
    assert one.out.startswith("One person: the squared distance is 0.0"), one.err
    assert "Limit 0.100, which comes with the body" in one.out
    assert "LFW" not in one.out
    assert cli("faces", "verify", a, c, *body).out.startswith("Two people: ")
    unknown = ("--body", blocks_body(tmp_path / "unknown", known=False), "--no-crop")
    undecided = cli("faces", "verify", a, c, *unknown)
    assert (undecided.code, undecided.out.split(":")[0]) == (0, "Cannot be said")
    assert "--strangers" in undecided.out
    fitted = cli("faces", "verify", a, c, *unknown, "--strangers", "others", "--far", 0.01)
    assert "Two people" in fitted.out
    assert "nearer are 70 of 7020 pairs of two people, of 40 people in others" in fitted.out
    assert "of 120 such pairs there 0 are" in fitted.out
    values = json.loads(cli("faces", "verify", a, b, *unknown, "--strangers", "others", "--json").out)
    assert (values["verdict"], values["limit"]["pairs"], values["faces"]) == ("one person", 7020, [1, 1])
    assert "too few for 0.01 %" in cli("faces", "verify", a, b, *unknown, "--strangers", people, "--far", 0.0001).out
    assert "same picture" in cli("faces", "verify", a, a, *body).out
    (tmp_path / "broken.png").write_bytes(b"no image")
    assert "there is no such photo" in refused(cli, "verify", a, "gone.png", *body)
    assert "this is no photo" in refused(cli, "verify", people, a, *body)
    assert "cannot be read" in refused(cli, "verify", a, "broken.png", *body)
    assert "--far" in refused(cli, "verify", a, b, *body, "--far", 1)


def test_strangers_are_made_of_photos_without_names(
    cli: Cli, make_people: MakePeople, where: tuple[object, ...]
) -> None:
    photos = new_photos(make_people)
    members = ("--gallery", "own.safetensors", *where[:3])  # whose threshold rests on its members
    assert cli("faces", "enroll", "members", *members).code == 0
    ended = cli("faces", "strangers", photos, *members)
    assert ended.code == 0, ended.err
    assert "which rests on its members alone so far" in ended.out
    assert "13 photos: 3 groups of 6 faces, 0 of them in doubt; 6 faces left out as members'" in ended.out
    command = ended.out.strip().splitlines()[-1].partition("there: ")[2]
    assert command.startswith("scalesearch faces enroll --strangers strangers --gallery own.safetensors --body ")
    assert sorted(path.name for path in Path("strangers").iterdir()) == [
        "index.html", "stranger001", "stranger002", "stranger003"
    ]  # fmt: skip
    assert mode(Path("strangers")) == 0o700
    assert {mode(path) for path in Path("strangers").rglob("*") if path.is_file()} == {0o600}
    people = {frozenset(path.name for path in folder.iterdir()) for folder in Path("strangers").glob("s*")}
    assert people == {frozenset({"0.png", "1.png"})}
    enrolled = cli(*command.split()[1:], "--no-crop", "--without", "stranger003", "--json")
    threshold = json.loads(enrolled.out)["threshold"]
    assert (threshold["basis"], threshold["photos"], threshold["people"]) == ("strangers", 4, 2)


def test_a_member_who_was_missed_is_in_doubt_and_left_out(
    cli: Cli, make_people: MakePeople, where: tuple[object, ...]
) -> None:
    photos = make_people("new", people=1, photos=4, first=500)
    with Image.open("members/person050/0.png") as own, Image.open(photos / "person500" / "0.png") as other:
        threshold = json.loads(cli("faces", "list", *GALLERY, "--json").out)["threshold"]["distance"]
        for share in range(60):  # from a member's face to a stranger's, until one is in doubt
            Image.blend(own.convert("RGB"), other.convert("RGB"), share / 60).save("between.png")
            row = json.loads(cli("faces", "identify", "between.png", *where, "--json").out)[0]
            if 0.75 * threshold < row["distance"] < 0.95 * threshold:
                break
    result = json.loads(cli("faces", "strangers", photos, "between.png", *where, "--json").out)
    assert [(one["folder"], one["doubtful"]) for one in result["groups"]] == [
        ("doubt001", True), ("stranger001", False)
    ]  # fmt: skip
    assert result["command"].endswith("--without doubt001")
    assert "fitted on strangers" in result["basis"][0]


def test_a_gallery_of_one_person_uses_the_body_s_own_limit(cli: Cli, make_people: MakePeople, tmp_path: Path) -> None:
    one, photos = make_people("one", people=1, photos=3), make_people("photos", people=3, photos=2)
    known, unknown = (("--body", blocks_body(tmp_path / str(place), place == 0), "--no-crop") for place in (0, 1))
    assert cli("faces", "enroll", one, *known, *GALLERY).code == 0
    result = json.loads(cli("faces", "strangers", photos, *known, *GALLERY, "--json").out)
    assert (len(result["groups"]), result["members_faces"], result["limit"]) == (2, 2, 0.1)
    assert "the gallery has no threshold yet" in result["basis"][0]
    assert cli("faces", "enroll", one, *unknown, "--gallery", "u.safetensors").code == 0
    said = refused(cli, "strangers", photos, *unknown, "--gallery", "u.safetensors", "--out", "s")
    assert "of its body no limit is known" in said
    assert "are members'" in refused(cli, "strangers", one, *known, *GALLERY, "--out", "s")
    assert cli("faces", "remove", "person000", *GALLERY).code == 0
    assert "there is nobody in it" in refused(cli, "strangers", photos, *known, *GALLERY, "--out", "s")


def test_folders_of_strangers_can_be_left_out(cli: Cli, make_people: MakePeople, where: tuple[object, ...]) -> None:
    def fitted(*arguments: object) -> int:
        ended = cli("faces", "enroll", "--strangers", "others", *where, *arguments, "--json")
        people: int = json.loads(ended.out)["threshold"]["people"]
        return people

    assert fitted("--without", "person200, person201") == 38
    assert fitted("--without", "person200", "--without", "person201,person202") == 37
    Path("others/a,b").mkdir()
    shutil.copy("others/person200/0.png", "others/a,b/0.png")
    shutil.rmtree("others/person200")
    assert fitted("--without", "a,b") == 39
    wrong = refused(cli, "enroll", "--strangers", "others", *where, "--without", "persn201")
    assert 'Did you mean "person201"?' in wrong
    assert "which are not given" in refused(cli, "enroll", "members", *where, "--without", "person201")
    names = ",".join(path.name for path in make_people("few", people=2, photos=1, first=700).iterdir())
    assert "it leaves nobody" in refused(cli, "enroll", "--strangers", "few", *where, "--without", names)


def test_real_strangers_can_be_enrolled(cli: Cli, real_data: Path) -> None:
    for room, folders in (("test", slice(0, 3)), ("unknown", slice(0, 4))):
        for folder in sorted((real_data / "lfw_photos" / room).iterdir())[folders]:
            place = Path("people" if room == "test" else "album") / folder.name
            place.mkdir(parents=True)
            for file in sorted(folder.iterdir())[:3]:
                shutil.copy(file, place)
    shutil.copytree("people", "album", dirs_exist_ok=True)
    assert cli("faces", "enroll", "people").code == 0
    made = json.loads(cli("faces", "strangers", "album", "--json").out)
    assert made["members_faces"] >= 9
    enrolled = cli("faces", "enroll", "--strangers", "strangers", "--json")
    assert enrolled.code == 0, enrolled.err
    values = json.loads(enrolled.out)
    photos = sum(len(one["faces"]) for one in made["groups"])
    assert (values["threshold"]["photos"], values["threshold"]["people"]) == (photos, len(made["groups"]))
    assert not any("without a face" in note or "several faces" in note for note in values["notes"])
