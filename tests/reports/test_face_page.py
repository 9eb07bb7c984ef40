"""Pages of faces: one file each that loads nothing; names are text; a browser follows the boxes."""

import base64
import hashlib
import html
import io
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from scalesearch.reports.face_page import Crop, People, faces_page, strangers_page, threshold_words
from tests.reports.pages import Element, everything, read

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
)
HOSTILE = "<script>alert(1)</script>"
THRESHOLD = {
    "distance": 0.104, "fpir": 0.01, "expected": 0.00993, "photos": 301, "people": 200, "effective": 250.0,
    "low": 0.001, "high": 0.029, "low_next": 0.0, "high_next": 0.04, "basis": "strangers",
}  # fmt: skip


def small() -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (128, 128), (200, 150, 120)).save(content, "JPEG")
    return content.getvalue()


CROP = small()


def crops(*photos: str) -> tuple[Crop, ...]:
    return tuple(Crop(CROP, photo, ("0.056", "also near: Bo 0.090")) for photo in photos)


def album() -> str:
    hostile = People(HOSTILE, "2 faces", crops("trip/a_1.jpg", f"trip/{HOSTILE}.jpg"))
    return faces_page(
        12, [hostile, People("Bo", "1 face", crops("b"))],
        [People("Seen on 3 photos", "nearest member: Bo, 0.210", crops("c", "d", "e"))], crops("f"),
        [("g.jpg", "no face found"), ("h.jpg", "not an image")], THRESHOLD, (0.0, 0.034),
    )  # fmt: skip


def set_of_strangers() -> str:
    groups = [
        People("doubt001", "1 photo; nearest member: Bo, 0.090", crops("a"), ticked=False),
        People("doubt002", "1 photo; nearest member: Bo, 0.095", crops("b"), ticked=False),
        People("stranger001", f"2 photos; nearest member: {HOSTILE}, 0.200", crops("c", "d")),
        People("stranger002", "1 photo; nearest member: Bo, 0.300", crops("e")),
    ]
    command = f"scalesearch faces enroll --strangers '{HOSTILE}'"
    return strangers_page(groups, command, ["Limit: 0.104 (squared distance)."], "4 groups of 5 faces.")


def by_id(tree: Element, key: str) -> Element:
    (element,) = [one for one in everything(tree) if one.attributes.get("id") == key]
    return element


@pytest.mark.parametrize("page", [album(), set_of_strangers()])
def test_nothing_is_loaded_and_no_script_but_its_own_runs(page: str) -> None:
    tree = read(page)
    for one in everything(tree):
        assert one.tag not in ("link", "iframe", "object", "embed", "base")
        assert not any(name.startswith("on") for name in one.attributes)
        for name in ("src", "href", "srcset", "action"):
            assert one.attributes.get(name, "#").startswith(("#", "data:image/jpeg;base64,"))
    (script,) = tree.all("script")
    assert "alert" not in script.text
    allowed = base64.b64encode(hashlib.sha256(script.text.encode()).digest()).decode()
    (policy,) = [one for one in tree.all("meta") if one.attributes.get("http-equiv") == "Content-Security-Policy"]
    assert policy.attributes["content"] == (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{allowed}'; img-src data:"
    )
    keys = [one.attributes["id"] for one in everything(tree) if "id" in one.attributes]
    assert len(keys) == len(set(keys))
    assert all(one.attributes["href"][1:] in keys for one in tree.all("a"))


def test_members_come_first_then_the_unknown_by_likeness_then_photos_without_a_face() -> None:
    tree = read(album())
    assert tree.all("h1")[0].text == "Who is on 12 photos"
    headings = [one.text.strip() for one in tree.all("h2")]
    assert headings == [HOSTILE, "Bo", "Nobody known", "Photos without a face"]
    assert [one.text.strip() for one in tree.all("h3")] == ["Seen on 3 photos", "Seen once"]
    first = by_id(tree, "member-1")
    images = first.all("img")
    assert [one.attributes["alt"] for one in images] == ["Face on trip/a_1.jpg", f"Face on trip/{HOSTILE}.jpg"]
    assert base64.b64decode(images[0].attributes["src"].partition(",")[2]) == CROP
    said = re.sub(r"\s+", " ", first.whole_text())
    assert "0.056also near: Bo 0.090trip/a_1.jpg" in said  # a line each
    assert [one.text for one in by_id(tree, "empty").all("li")] == ["g.jpg: no face found", "h.jpg: not an image"]
    assert "3 faces of 2 members, 4 of nobody known, 2 photos without a face." in album()


def test_the_top_says_what_the_threshold_rests_on_and_what_to_expect() -> None:
    told = re.sub(r"\s+", " ", read(album()).all("header")[0].whole_text())
    assert "nearer to them than 0.104" in told
    assert "fitted on 301 photos of 200 people who are no members: 1.0 % of such photos" in told
    assert "95 % interval 0.1–2.9 % in the long run" in told
    assert "Were all" not in told  # 7 faces are too few to say
    many = faces_page(20, [], [People("?", "", (Crop(b"", "a.jpg"),) * 20)], [], [], THRESHOLD, (0.0, 0.1))
    assert "Were all 20 faces of people who are no members, 0 to 2 of them" in many
    sentences, warning = threshold_words({**THRESHOLD, "basis": "members"})
    assert "each in turn taken for a stranger" in " ".join(sentences)
    assert "No photos of strangers were given" in warning
    assert threshold_words(THRESHOLD)[1] == ""


def test_a_page_of_photos_without_a_face_is_a_page() -> None:
    page = faces_page(1, [], [], [], [("a.jpg", "no face found")], THRESHOLD, (0.0, 1.0))
    assert "Were all" not in page
    assert [one.text for one in read(page).all("h2")] == ["Photos without a face"]


def test_strangers_are_asked_for_with_the_command_that_leaves_out_the_others() -> None:
    tree = read(set_of_strangers())
    boxes = {one.attributes["data-folder"]: "checked" in one.attributes for one in tree.all("input")}
    assert boxes == {"doubt001": False, "doubt002": False, "stranger001": True, "stranger002": True}
    command = f"scalesearch faces enroll --strangers '{HOSTILE}'"
    assert by_id(tree, "command").text == f"{command} --without doubt001,doubt002"
    assert by_id(tree, "command").attributes["data-start"] == command
    (off,) = tree.all("noscript")
    assert "Delete the folders of members instead" in off.whole_text()
    assert [one.text.strip() for one in tree.all("h2")] == ["In doubt", "Strangers"]


def test_without_doubt_every_group_is_a_stranger() -> None:
    page = strangers_page([People("stranger001", "1 photo", crops("a"))], "enroll", [], "1 group of 1 face.")
    assert by_id(read(page), "command").text == "enroll"
    assert [one.text.strip() for one in read(page).all("h2")] == ["Strangers"]


CHECK = """
<output id="told"></output><script>
const told = [document.getElementById("command").textContent];
for (const name of ["doubt002", "stranger001"]) {
  document.querySelector(`input[data-folder="${name}"]`).click();
  told.push(document.getElementById("command").textContent);
}
told.push(`${document.documentElement.scrollWidth} of ${innerWidth}`);
document.getElementById("told").textContent = told.join("; ");
</script></body>"""
PHONE = """<!DOCTYPE html><iframe id="phone" width="390" height="800" srcdoc="{}"></iframe><output id="told"></output>
<script>
onload = () => {{ document.getElementById("told").textContent =
  document.getElementById("phone").contentDocument.getElementById("told").textContent; }};
</script>"""


@pytest.mark.skipif(not CHROMIUM, reason="no chromium here")
def test_in_a_browser_the_command_follows_the_boxes_and_a_phone_needs_no_sideways_scrolling(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    checked = re.sub(r'<meta http-equiv="Content-Security[^>]*>', "", set_of_strangers()).replace("</body>", CHECK)
    page.write_text(PHONE.format(html.escape(checked)))  # a window may not be as narrow as a phone, a frame may
    ended = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
         "--disable-sync", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom",
         page.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    answer = re.search(r'<output id="told">([^<]*)</output>', ended.stdout)
    assert answer is not None
    before, ticked, unticked, width = html.unescape(answer[1]).split("; ")
    command = f"scalesearch faces enroll --strangers '{HOSTILE}'"
    assert before == f"{command} --without doubt001,doubt002"
    assert ticked == f"{command} --without doubt001"
    assert unticked == f"{command} --without doubt001,stranger001"
    needed, _, there = width.split()
    assert int(needed) <= int(there) == 390
