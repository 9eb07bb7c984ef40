import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from scalesearch.design.family import family
from scalesearch.errors import UserError
from scalesearch.reports.artefacts import report_markdown, write_report
from scalesearch.reports.edition import Edition
from scalesearch.reports.figures.drawings import drawings
from scalesearch.reports.tables import RESULT_COLUMNS, family_values
from scalesearch.study.answer import Answer
from scalesearch.study.record import Record, read_record
from scalesearch.study.row import Row
from scalesearch.units import show_percent
from tests.family_runs import plan_of, written
from tests.reports.synthetic import PLAN, answer, judged, listed, no_answer, record, results, rows, trained
from tests.study.runs import ordered

NAMES = ("accuracy_flops", "credible_set", "controls", "goals", "score_grid", "family")
FIGURES = [f"{name}.{kind}" for name in NAMES for kind in ("png", "svg", "pdf")]


def finished(trainings: Sequence[Row], told: Answer) -> Record:
    """A finished search whose first two members were trained, too."""
    run = record(trainings, told, complete=True)
    assert run.recommendation is not None
    chosen = run.recommendation
    members = family(chosen.baseline, chosen.coefficients, chosen.rounding)
    return record(trainings, told, complete=True, tested=trained(members, 2))


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Record]:
    folder = tmp_path_factory.mktemp("run") / "report"
    trainings = rows(12, seeds=2, failed=(4,))
    run = finished(trainings, answer(trainings))
    write_report(folder, run)
    return folder, run


def markdown(folder: Path) -> str:
    return (folder / "report.md").read_text(encoding="utf-8")


def test_every_file_is_there_and_reads_back(complete: tuple[Path, Record]) -> None:
    folder, run = complete
    assert {path.name for path in folder.iterdir()} == {
        *FIGURES,
        "results.csv",
        "family.json",
        "report.md",
        "report.html",
    }
    frame = pd.DataFrame([row.to_dict() for row in run.rows], columns=list(RESULT_COLUMNS))
    assert (folder / "results.csv").read_text() == frame.to_csv(index=False, lineterminator="\n")
    kept = json.loads((folder / "family.json").read_text(encoding="utf-8"))
    assert [one["name"] for one in kept] == [f"b{phi}" for phi in range(7)]
    assert [(one["correct"], one["source"]) for one in kept if "correct" in one] == [
        (880, "fine-tuned"), (891, "fine-tuned"),
    ]  # fmt: skip
    assert family_values((), ()) == []
    for name in FIGURES:
        if name.endswith("png"):
            with Image.open(folder / name) as image:
                assert image.width == 1050
        elif name.endswith("pdf"):
            assert (folder / name).read_bytes().startswith(b"%PDF-")
        else:
            assert ET.parse(folder / name).getroot().tag.endswith("svg")


def test_report_names_the_figures_that_exist(complete: tuple[Path, Record]) -> None:
    folder, _ = complete
    named = re.findall(r"!\[[^]]+\]\(([^)]+)\)", markdown(folder))
    assert named == [f"{name}.png" for name in NAMES]


def test_numbers_in_the_report_are_those_of_the_record(complete: tuple[Path, Record]) -> None:
    folder, run = complete
    text = markdown(folder)
    assert run.recommendation is not None
    best, chosen = run.leader, run.recommendation.coefficients
    assert best is not None
    factors = f"α {chosen.alpha:.3g}, β {chosen.beta:.3g}, γ {chosen.gamma:.3g}"
    px = f"{best.row.proxy_resolution} px as trained"
    has = f"depth × {best.row.depth_ratio:.2f}, width × {best.row.width_ratio:.2f}, resolution × "
    assert f"**Use {has}{best.row.resolution_ratio:.2f}** ({best.row.name}, {px}; {factors})" in text
    assert "11 of 12 candidates have a result, 1 failed." in text
    assert text.startswith(f"# Compound scaling for Flowers: {factors}\n")
    trainings = [row for row in run.rows if row.candidate == best.row.candidate]
    correct, images = sum(row.correct for row in trainings), sum(row.images for row in trainings)
    assert f"{100 * correct / images:.1f} % top-1" in text
    assert f"{correct} of {images} validation images, 3 epochs, summed over 2 seeds" in text
    assert "- 9 of 11 hold the best one with 90 %: " in text
    assert "seeds, beyond what the images show: 1.2 points (95 %: 0.5 to 2.0)." in text
    assert re.search(
        r"width alone \(c001\).*\+3\.0 % .*\+4\.0 % .*−1\.0 % .*1\.155.*\+1\.2 .*0\.1 to 2\.3 .*won", text
    )  # fmt: skip
    real = [row.proxy_ratio for row in run.rows if row.role == "candidate"]
    assert f"{min(real):.3f} to {max(real):.3f}" in text
    for one in [one for one in run.summaries if not one.is_baseline][:10]:
        assert re.search(
            rf"\| {one.row.name} +\| +{show_percent(one.accuracy.value)} \|.*\| +{100 * one.score:.2f} \|", text
        )


def test_report_says_what_was_a_proxy_dropped_failed_and_how_to_repeat_it(complete: tuple[Path, Record]) -> None:
    text = markdown(complete[0])
    assert "**Accuracy comes from a proxy:**" in text
    assert "A lead, no proof, for networks of 386M FLOPs: that proxies of 9.74M rank as those do is not shown." in text
    assert "What checks it: a larger --proxy-flops, or a GPU, which needs no proxy up to 1G FLOPs." in text
    assert "as a smaller proxy (baseline 9.74M multiply-adds at 32 px), 3 epochs, 8000 training images" in text
    assert "cannot change the winner" in text
    assert "a test that assumes no model" in text
    assert "Bought at a higher cost" not in text
    assert "22 triples" in text
    assert "rounds to the baseline itself" in text
    assert "loss is not finite \\| epoch 2" in text
    assert "```\nscalesearch grid --target-flops 400M --data flowers --seeds 1\n```" in text
    for fact in ("0123456789ab", PLAN.baseline.digest, "torch 2.15.0", "2 CPU cores", "2026-01-31", "2 h 4 min"):
        assert fact in text


def test_families_trained_beside_it_stand_in_the_report_with_their_figure(tmp_path: Path) -> None:
    trainings = rows(6)
    run = record(trainings, answer(trainings), complete=True)
    plan = plan_of(("found", "depth"), 2, (), inherits=False)
    families = [written(tmp_path / "run" / "family" / name, plan) for name in ("trained-glyphs", "trained-mine")]
    vars(run)["families"] = tuple(families)
    drawn = list(drawings(run, ()))
    text = report_markdown(run, (), drawn)
    assert text.count("## Families trained side by side on glyphs") == 2
    assert "At equal FLOPs the found family is more accurate than depth alone." in text
    assert "family/trained-mine/families.html" in text
    assert all(f"({name}.png)" in text for name in ("families", "families_2"))
    assert [one.name for one in drawn if one.name.startswith("families")] == ["families", "families_2"]


def test_a_title_of_ones_own_stands_on_page_and_text(tmp_path: Path) -> None:
    write_report(tmp_path, record(rows(3)), Edition("Birds <of> the *garden*"))
    assert markdown(tmp_path).startswith("# Birds &lt;of> the \\*garden\\*")
    assert "<title>Birds &lt;of&gt; the *garden*</title>" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_an_answer_comes_with_commands_that_name_the_run(complete: tuple[Path, Record], tmp_path: Path) -> None:
    folder, run = complete
    assert f"scalesearch family --train b0..b3 --run {run.folder}" in markdown(folder)
    write_report(tmp_path, record(rows(3)))
    assert "## Next" not in markdown(tmp_path)


def test_what_a_candidate_confuses_stands_in_the_report() -> None:
    run = read_record(Path(__file__).parents[1] / "golden" / "run-0.1.0")
    text = report_markdown(run, (), list(drawings(run, ())))
    assert "## What it confuses" in text
    assert "(confusion.png)" in text
    assert run.confusion is not None
    worst = run.confusion.by_class()[0]
    assert f"| {worst.name} " in text
    assert show_percent(worst.accuracy.value) in text


def test_probabilities_that_were_kept_are_judged(tmp_path: Path) -> None:
    run = read_record(ordered(tmp_path / "run"))
    assert run.confusion is not None
    assert run.confusion.probabilities is not None
    text = report_markdown(run, (), list(drawings(run, ())))
    assert "## Can its probabilities be believed?" in text
    assert "(calibration.png)" in text
    earlier = read_record(Path(__file__).parents[1] / "golden" / "run-0.1.0")  # of a version that kept none
    assert "probabilities be believed" not in report_markdown(earlier, (), list(drawings(earlier, ())))


def test_nothing_done(tmp_path: Path) -> None:
    written = write_report(tmp_path, record(rows(3, failed=(-1, 0, 1, 2)), count=25))
    assert [path.name for path in written] == ["results.csv", "family.json", "report.md", "report.html"]
    text = markdown(tmp_path)
    assert "**Not finished: 0 of 25 candidates have a result, 3 failed. The race is not over: " in text
    assert not re.search(r"\bnan\b", text.lower())


def test_no_rows_yet(tmp_path: Path) -> None:
    write_report(tmp_path, record([], count=25))
    assert "**Not finished: 0 of 25 candidates have a result. The race is not over: " in markdown(tmp_path)


def test_one_done_of_many_with_the_baseline_lost(tmp_path: Path) -> None:
    write_report(tmp_path, record(rows(7, failed=(-1, 1, 2, 3, 4, 5, 6)), count=25))
    text = markdown(tmp_path)
    assert "**Not finished: 1 of 25 candidates have a result, 6 failed. The race is not over: " in text
    assert "Ahead so far: c000" in text
    assert not (tmp_path / "family.png").exists()


def test_without_a_decision_nothing_is_recommended_anywhere(tmp_path: Path) -> None:
    trainings = rows(5)
    reason = "3 of 5 networks are not clearly better than guessing"
    write_report(tmp_path, record(trainings, no_answer(trainings, reason), complete=True))
    for text in (markdown(tmp_path), (tmp_path / "report.html").read_text(encoding="utf-8")):
        assert "No decision:" in text
        assert f"{reason}." in text
        assert "The paper's coefficients stand by default; they are not a result of this search." in re.sub(
            "&#39;", "'", text
        )
        for claim in (
            "Use depth",
            "coefficients found",
            "ecommended",
            "likely the best",
            "Beats",
            "hold the best",
            "in the set",
            '<ul class="factors',
        ):
            assert claim not in text, claim
    assert not (tmp_path / "credible_set.png").exists()
    assert not (tmp_path / "controls.png").exists()


def test_a_race_that_stopped_at_the_baseline_says_why_and_what_to_change(tmp_path: Path) -> None:
    guessed = [judged(row, 60) for row in rows(3, seeds=2) if row.role == "baseline"]
    told = replace(no_answer(rows(3), "the baseline is not clearly better than guessing"), standings=())
    run = replace(record(rows(3), told, complete=True), rows=tuple(guessed), results=results(guessed))
    vars(run)["enumeration"] = listed(rows(3))
    write_report(tmp_path, run)
    text = markdown(tmp_path)
    assert "**No decision:** the baseline is not clearly better than guessing." in text
    assert "Guessing the most frequent class gets 2.5 % right. More epochs (--epochs) or images (--images)" in text
    assert "So may a larger proxy (--proxy-flops): as trained, the baseline has 9.74M FLOPs at 32 px." in text
    assert "Not finished" not in text
    assert "0 of 3 candidates have a result." in text


def test_full_training_is_not_called_a_proxy(tmp_path: Path) -> None:
    plan = replace(PLAN, proxy=replace(PLAN.proxy, baseline=PLAN.baseline, epochs=30))
    write_report(tmp_path, record([row for row in rows(1) if row.role == "candidate"], plan=plan))
    text = markdown(tmp_path)
    assert "**Accuracy comes from a short training at full size:**" in text
    assert "comes from a proxy" not in text
    assert "A lead, no proof" not in text


def test_names_cannot_break_the_markdown(tmp_path: Path) -> None:
    write_report(tmp_path, record(rows(1, failed=(-1, 0)), plan=replace(PLAN, data="<b>x*\n## y")))
    headings = [line for line in markdown(tmp_path).splitlines() if line.startswith("#")]
    assert headings[0] == "# Compound scaling for &lt;b>x\\* ## y: not finished"
    assert "## y" not in headings
    assert "<b>" not in markdown(tmp_path)


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "results.csv").write_text("old")

    def refuse(source: Path, target: Path) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", refuse)
    with pytest.raises(UserError, match="disk full"):
        write_report(tmp_path, record(rows(1, failed=(-1, 0))))
    assert [path.name for path in tmp_path.iterdir()] == ["results.csv"]
    assert (tmp_path / "results.csv").read_text() == "old"
