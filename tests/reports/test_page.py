import base64
import hashlib
import html
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from scalesearch.design.family import Member
from scalesearch.reports.artefacts import family_members, write_report
from scalesearch.reports.edition import Edition
from scalesearch.reports.figures.drawings import drawings
from scalesearch.reports.figures.formats import COLOURS
from scalesearch.reports.page import report_page
from scalesearch.reports.words import NO_RATES, Rates
from scalesearch.study.record import Record
from scalesearch.study.row import Row
from scalesearch.units import show_percent
from tests.reports.pages import Element, everything, read
from tests.reports.synthetic import (
    PLAN,
    PROVENANCE,
    answer,
    compared,
    curve,
    early,
    members,
    record,
    rows,
    trained,
    verification,
)

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
)
STYLE = (Path(__file__).parents[2] / "scalesearch/reports/templates/style.css").read_text()


VERIFIED = verification(compared("c003", "recommended", 0.6), compared("c001", "outside", 0.5, "width"))


def raced(count: int) -> tuple[Row, ...]:
    """Results of ``count`` candidates after 3 epochs, and of all but the last after 1 epoch, too."""
    late = rows(count)
    return (*early([row for row in late if row.candidate < count - 1]), *late)


def page_of(run: Record, family: tuple[Member, ...] = (), rates: Rates = NO_RATES) -> str:
    return report_page(run, family, list(drawings(run, family)), Edition(rates=rates))


@pytest.fixture(scope="module")
def finished() -> tuple[str, Record]:
    run = record(
        raced(12), answer(rows(12)), complete=True, verifications=(VERIFIED,),
        tested=(*trained(members(), 2), curve("b1", 0.5, 0.75, 0.7)),
    )  # fmt: skip
    return page_of(run, members()), run


@pytest.fixture(scope="module")
def tree(finished: tuple[str, Record]) -> Element:
    return read(finished[0])


def by_id(tree: Element, key: str) -> Element:
    (element,) = [one for one in everything(tree) if one.attributes.get("id") == key]
    return element


def test_nothing_is_loaded_from_anywhere(finished: tuple[str, Record], tree: Element) -> None:
    text = finished[0]
    assert len(text.encode()) < 1_500_000
    for one in everything(tree):
        assert one.tag not in ("link", "img", "iframe", "object", "embed", "base", "video", "audio")
        for name, value in one.attributes.items():
            if name in ("src", "href", "xlink:href", "srcset", "data", "action"):
                assert value.startswith(("#", "data:image/png;base64,")), (one.tag, name, value)
    assert not re.search(r"@import|url\((?!#)", text)
    policy = next(one for one in tree.all("meta") if "http-equiv" in one.attributes).attributes["content"]
    assert policy.startswith("default-src 'none'")


def test_only_the_page_s_own_script_may_run(tree: Element) -> None:
    (script,) = tree.all("script")
    digest = base64.b64encode(hashlib.sha256(script.text.encode()).digest()).decode()
    policy = next(one for one in tree.all("meta") if "http-equiv" in one.attributes).attributes["content"]
    assert f"script-src 'sha256-{digest}'" in policy


def test_every_id_is_unique_and_every_reference_leads_somewhere(tree: Element) -> None:
    ids = [one.attributes["id"] for one in everything(tree) if "id" in one.attributes]
    assert len(ids) == len(set(ids))
    wanted = set()
    for one in everything(tree):
        wanted |= set(one.attributes.get("aria-labelledby", "").split())
        wanted |= {value[1:] for name, value in one.attributes.items() if name == "href" and value.startswith("#")}
        wanted |= set(re.findall(r"url\(#([^)]+)\)", " ".join(one.attributes.values())))
    assert wanted
    assert wanted <= set(ids)


def test_the_story_is_told_top_down(tree: Element) -> None:
    assert [one.whole_text() for one in tree.all("h1")] == ["Compound scaling for Flowers"]
    assert [one.whole_text() for one in tree.all("h2")] == [
        "Accuracy against FLOPs", "Which is the best", "Against the paper's coefficients and one dimension alone",
        "Under other costs", "The grid", "Learning curves", "Does φ = 1 transfer?", "The family", "All candidates",
        "The network", "What the candidates cost", "Triples dropped", "Next", "Provenance", "Reproduce",
    ]  # fmt: skip
    places = [one.attributes["href"] for one in tree.all("nav")[0].all("a")]
    assert places == [f"#{one.attributes['id']}" for one in tree.all("section")][:-1]


def test_figures_are_described_from_the_data_and_their_text_is_text(
    finished: tuple[str, Record], tree: Element
) -> None:
    run = finished[1]
    drawn = tree.all("svg")
    assert len(drawn) == 2 * 9 + 1  # nine figures, for wide windows and for phones; one stands beside the answer
    for svg in drawn:
        assert svg.attributes["role"] == "img"
        title, description = svg.all("title")[0], svg.all("desc")[0]
        assert svg.attributes["aria-labelledby"] == f"{title.attributes['id']} {description.attributes['id']}"
        assert len(svg.all("text")) > 5
    said = {svg.all("title")[0].attributes["id"]: svg.all("desc")[0].text for svg in drawn}
    best = run.leader
    assert best is not None
    assert f"Recommended {best.row.name}: {show_percent(best.accuracy.value)} (" in said["accuracy_flops-wide-title"]
    assert "width alone: +1.2 points (95 %: 0.1 to 2.3), won" in said["controls-wide-title"]
    assert said["score_grid-wide-title"].startswith("12 candidates, scores expected after full training: from ")
    first = next(one for one in run.rungs if one.row.epochs == 1 and one.row.name == best.row.name)
    told = f"{best.row.name}: {show_percent(first.accuracy.value)} after 1 epoch, "
    assert told in said["learning_curves-wide-title"]
    assert "Tested on Flowers: b0 88.0 %, b1 89.1 %" in said["family-wide-title"]
    assert said["transfer_phi2-wide-title"] == (
        "c003 (recommended): 60.0 and 70.0 points; c001 (outside, width only): 50.0 and 60.0 points"
    )
    assert "The order at φ = 1 carries over" in by_id(tree, "transfer").whole_text()
    told = "b1, from scratch 50.0 % after 1 epoch, 70.0 % after 3 epochs, at best 75.0 %"
    assert said["member_curves-wide-title"] == told
    assert run.answer is not None
    assert all(one.name in said["credible_set-wide-title"] for one in run.answer.standings)


def test_figures_take_the_page_s_colours_in_both_modes(finished: tuple[str, Record]) -> None:
    text = finished[0]
    drawn = "".join(re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL))
    for colour in COLOURS:
        assert colour.lower() not in drawn
    used = set(re.findall(r"var\((--[a-z-]+)\)", text))
    light, dark = palettes()
    assert used <= light.keys()
    assert light.keys() == dark.keys()


def palettes() -> tuple[dict[str, str], dict[str, str]]:
    blocks = re.findall(r":root \{(.*?)\}", STYLE, flags=re.DOTALL)
    light, dark = (dict(re.findall(r"(--[a-z-]+): (#[0-9a-f]+);", block)) for block in blocks)
    return light, dark


def contrast(one: str, other: str) -> float:
    """WCAG 2's contrast ratio."""

    def luminance(colour: str) -> float:
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("mode", [0, 1])
def test_contrast_is_enough_to_read(mode: int) -> None:
    colours = palettes()[mode]
    for ground in ("--paper", "--tint"):
        for ink in ("--ink", "--soft", "--accent"):
            assert contrast(colours[ink], colours[ground]) >= 4.5
    assert contrast(colours["--warn"], colours["--warn-tint"]) >= 4.5
    for name in ("--blue", "--orange", "--green", "--red", "--purple", "--grey"):
        assert contrast(colours[name], colours["--paper"]) >= 3


def test_tables_have_captions_and_headings_with_scope(tree: Element) -> None:
    tables = tree.all("table")
    assert len(tables) >= 7
    for table in tables:
        assert table.all("caption")[0].whole_text()
        assert all(head.attributes["scope"] == "col" for head in table.all("thead")[0].all("th"))
        assert all(head.attributes["scope"] == "row" for head in table.all("tbody")[0].all("th"))
        columns = len(table.all("thead")[0].all("th"))
        assert {len(row.children) for row in table.all("tbody")[0].all("tr")} == {columns}


def test_every_candidate_has_a_row_with_the_numbers_it_sorts_by(finished: tuple[str, Record], tree: Element) -> None:
    (table,) = by_id(tree, "candidates").all("table")
    assert table.attributes["class"] == "sortable"
    names = [head.text for head in table.all("thead")[0].all("th")]
    summaries = {one.row.name: one for one in finished[1].summaries}
    shown = table.all("tbody")[0].all("tr")
    assert [row.children[0].text for row in shown] == list(summaries)
    for row in shown:
        one = summaries[row.children[0].text]
        for column, value in (
            ("accuracy", one.accuracy.value),
            ("FLOPs", one.row.macs),
            ("params", one.row.params),
            ("95 % interval", one.accuracy.low),
        ):
            assert float(row.children[names.index(column)].attributes["data-sort"]) == value
    statuses = [row.children[names.index("status")].text.partition(",")[0] for row in shown]
    assert (statuses.count("outside"), statuses.count("in the set"), statuses.count("baseline")) == (2, 10, 1)


def test_stages_add_up_and_published_networks_are_imagenet_s(tree: Element) -> None:
    rows = [[cell.text for cell in row.children] for row in by_id(tree, "network").all("tbody")[0].all("tr")]
    assert rows[1][:6] == ["1", "MBConv1 3×3 /1", "0.25", "16", "1", "112"]
    assert rows[-1] == ["all", "", "", "", "16", "", "386M", "100.0 %", "5.29M", "6.75M"]
    published = by_id(tree, "family").all("table")[-1]
    assert "ImageNet top-1" in [head.text for head in published.all("th")]
    listed = {row.children[0].text: row.children[2].text for row in published.all("tbody")[0].all("tr")}
    assert listed["resnet50"] == "4.089"
    assert "cannot be compared" in by_id(tree, "family").whole_text()


def test_the_answer_stands_first_and_the_command_last(finished: tuple[str, Record], tree: Element) -> None:
    run = finished[1]
    assert run.recommendation is not None
    factors = run.recommendation.coefficients
    values = [one.text for one in tree.all("header")[0].all("span") if one.attributes["class"] == "value"]
    assert values == [f"{value:.3g}" for value in (factors.alpha, factors.beta, factors.gamma)]
    told = tree.all("dl")[0].whole_text()
    assert "10 of 12 hold the best one with 90 %" in tree.all("header")[0].whole_text()
    assert "95 % interval" in told
    assert "2 h 4 min" in told
    assert by_id(tree, "reproduce").all("code")[0].text == run.commands[0]
    assert "0, digest" not in told


def test_names_are_text_wherever_they_come_from() -> None:
    evil = '"><script>alert(1)</script><img src=http://x.example/y>${7*7}'
    trainings = [replace(row, reason=evil) if row.reason else row for row in rows(4, failed=(2,))]
    made = replace(PROVENANCE, command=f"scalesearch grid --data {evil}", hardware=evil, versions={"torch": evil})
    run = record(
        trainings, answer(trainings), plan=replace(PLAN, data=evil, space=evil), provenance=made,
        folder=Path("/runs") / evil.replace("/", "|"), tested=trained(members(), 1),
    )  # fmt: skip
    tree = read(page_of(run, members()))
    (script,) = tree.all("script")
    assert "alert" not in script.text
    assert not tree.all("img")
    assert evil in tree.all("h1")[0].whole_text()
    assert tree.whole_text().count(evil) > 6


@pytest.mark.parametrize("count", [0, 1, 5])
def test_a_search_that_has_only_begun(count: int) -> None:
    text = page_of(record(rows(7)[:count], count=25))
    tree = read(text)
    assert f"Not finished: {max(0, count - 1)} of 25 candidates have a result" in tree.whole_text()
    assert not re.search(r"\bnan\b", re.sub(r"<script>.*</script>", "", text, flags=re.DOTALL), flags=re.IGNORECASE)
    assert ("Ahead so far" in tree.whole_text()) == (count > 1)
    assert "Learning curves" not in tree.whole_text()
    assert "once the search is finished" in tree.whole_text()


def test_every_candidate_measured_once_but_the_race_still_open() -> None:
    tree = read(page_of(record(rows(4), answer(rows(4), outside=1))))
    assert "every candidate has a result. The race is not over" in tree.whole_text()
    assert "Ahead so far: depth × " in tree.all("header")[0].whole_text()


def test_energy_and_price_only_where_asked() -> None:
    run = record(rows(2))
    assert "estimated" not in page_of(run)
    told = read(page_of(run, rates=Rates(watts=30, price_per_hour=1.5))).all("dl")[0].whole_text()
    assert "62 Wh at 30 W throughout" in told  # 7440 seconds
    assert "3.10 at 1.5 an hour" in told


def test_the_same_values_give_the_same_page_and_figures(tmp_path: Path) -> None:
    written = [
        write_report(tmp_path / name, record(rows(3), answer(rows(3), outside=1))) for name in ("a", "b")
    ]  # fmt: skip
    kinds = [path.suffix for path in written[0]]
    assert {".html", ".pdf", ".png", ".svg", ".md", ".csv"} <= set(kinds)
    for one, other in zip(*written, strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_the_family_of_a_finished_search_follows_from_its_coefficients() -> None:
    run = record(rows(3), answer(rows(3)), complete=True)
    assert [one.name for one in family_members(run)] == [f"b{phi}" for phi in range(7)]
    assert family_members(record(rows(3), answer(rows(3)))) == ()


CHECK = """
<script>
const heads = [...document.querySelectorAll("#candidates thead th")];
const told = [];
for (const name of ["accuracy", "accuracy", "candidate"]) {
  const head = heads.find((one) => one.textContent === name);
  head.querySelector("button").click();
  const first = [...document.querySelectorAll("#candidates tbody tr")].map((row) => row.cells[0].textContent);
  told.push(`${name} ${head.getAttribute("aria-sort")} ${first.join(" ")}`);
}
told.push(`width ${document.documentElement.scrollWidth} of ${innerWidth}`);
const seen = [...document.querySelectorAll("figure svg")].filter((one) => one.getBoundingClientRect().width > 0);
told.push(`figures ${seen.length}`);
document.body.dataset.told = told.join("; ");
</script></body>
"""


PHONE = """<!DOCTYPE html>
<output id="told"></output><iframe id="phone" width="360" height="780" style="border: 0" srcdoc="{}"></iframe>
<script>
phone.onload = () => {{ told.textContent = phone.contentDocument.body.dataset.told; }};
</script>"""


@pytest.mark.skipif(not CHROMIUM, reason="no chromium here")
def test_in_a_browser_tables_sort_and_a_phone_needs_no_sideways_scrolling(
    finished: tuple[str, Record], tmp_path: Path
) -> None:
    text, run = finished
    page = tmp_path / "page.html"
    checked = re.sub(r'<meta http-equiv="Content-Security[^>]*>', "", text).replace("</body>", CHECK)
    page.write_text(PHONE.format(html.escape(checked)))  # a window may not be as narrow as a phone, a frame may
    ended = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
         "--disable-sync", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom",
         page.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    told = re.search(r'<output id="told">([^<]*)</output>', ended.stdout)
    assert told is not None
    up, down, names, width, figures = told[1].split("; ")
    ranked = [one.row.name for one in sorted(run.summaries, key=lambda one: -one.accuracy.value)]
    assert up.split()[:2] == ["accuracy", "descending"]
    assert up.split()[2] == ranked[0]
    assert down.split()[:2] == ["accuracy", "ascending"]
    assert down.split()[-1] == ranked[0]
    assert names.split()[:2] == ["candidate", "ascending"]
    assert names.split()[2:] == sorted(ranked)
    _, needed, _, there = width.split()
    assert int(needed) <= int(there) == 360
    assert figures == "figures 9"
