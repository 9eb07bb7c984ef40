import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from scalesearch.design.scaling import Coefficients
from scalesearch.errors import UserError
from scalesearch.reports.report import write_report
from scalesearch.reports.statistics import summarise
from tests.reports.synthetic import answer, facts, family, results, winner

NAMES = ("accuracy_flops", "winner_set", "controls", "score_grid", "family")
FIGURES = [f"{name}.{kind}" for name in NAMES for kind in ("png", "svg", "pdf")]


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pd.DataFrame]:
    folder = tmp_path_factory.mktemp("run") / "report"
    frame = results(12, seeds=2, failed=(4,))
    write_report(folder, frame, replace(facts(12, winner(frame)), winners=answer(frame)), family(tested=2))
    return folder, frame


def markdown(folder: Path) -> str:
    return (folder / "report.md").read_text(encoding="utf-8")


def test_every_file_is_there_and_reads_back(complete: tuple[Path, pd.DataFrame]) -> None:
    folder, frame = complete
    assert {path.name for path in folder.iterdir()} == {
        *FIGURES,
        "results.csv",
        "family.json",
        "report.md",
        "report.html",
    }
    pd.testing.assert_frame_equal(
        pd.read_csv(folder / "results.csv", keep_default_na=False, na_values={c: [""] for c in ("top1", "score")})[
            ["candidate", "seed", "top1", "score", "reason"]
        ],
        frame[["candidate", "seed", "top1", "score", "reason"]],
        check_dtype=False,
        rtol=0,
    )
    assert json.loads((folder / "family.json").read_text(encoding="utf-8")) == family(tested=2)
    for name in FIGURES:
        if name.endswith("png"):
            with Image.open(folder / name) as image:
                assert image.width == 1050
        elif name.endswith("pdf"):
            assert (folder / name).read_bytes().startswith(b"%PDF-")
        else:
            assert ET.parse(folder / name).getroot().tag.endswith("svg")


def test_report_names_the_figures_that_exist(complete: tuple[Path, pd.DataFrame]) -> None:
    folder, _ = complete
    named = re.findall(r"!\[[^]]+\]\(([^)]+)\)", markdown(folder))
    assert named == [f"{name}.png" for name in NAMES]


def test_numbers_in_the_report_are_those_of_the_frame(complete: tuple[Path, pd.DataFrame]) -> None:
    folder, frame = complete
    text = markdown(folder)
    found = winner(frame)
    assert f"depth α = {found.alpha:g}, width β = {found.beta:g}, resolution γ = {found.gamma:g}" in text
    assert "11 of 12 candidates done, 1 failed" in text
    best = summarise(frame).query("role == 'candidate'").iloc[0]
    trials = frame[frame["candidate"] == best["candidate"]]
    correct, images = int(trials["correct"].sum()), int(trials["images"].sum())
    assert f"{100 * correct / images:.1f} % top-1" in text
    assert f"{correct} of {images} validation images, 3 epochs, summed over 2 seeds" in text
    assert "**Winner set at 90 %:** 9 of 12 candidates cannot be told from the best" in text
    assert "Beaten: 2 (after 1 epoch)" in text
    assert "Undecided: 1 of the set" in text
    assert "seeds, beyond what the images show: 1.23 points" in text
    assert re.search(r"width only \(c001\).*\+3\.0 % .*\+4\.0 % .*−1\.0 % .*1\.155.*\+0\.0012 to \+0\.0234.*won", text)
    real = frame.loc[frame["role"] == "candidate", "real_ratio"]
    assert f"{real.min():.3f} to {real.max():.3f}" in text
    for row in summarise(frame).query("role == 'candidate'").head(10).to_dict("records"):
        assert re.search(
            rf"\| {row['name']} +\|.*\| +{100 * row['correct'] / row['images']:.1f} % \|.*\| +{row['score']:.4f} \|",
            text,
        )


def test_report_says_what_was_a_proxy_dropped_failed_and_how_to_repeat_it(
    complete: tuple[Path, pd.DataFrame],
) -> None:
    text = markdown(complete[0])
    assert "**Accuracy comes from a proxy:**" in text
    assert "1/7 of its resolution, at most 3 epochs on 8000 images" in text
    assert "cannot change the winner" in text
    assert "Compared image by image" in text
    assert "**Bought:**" not in text
    assert "22 triples" in text
    assert "rounds to the baseline itself" in text
    assert "loss is not finite \\| epoch 2" in text
    assert "```\nscalesearch grid --target-flops 400M --data flowers --seeds 1\n```" in text
    for fact in ("0123456789ab", "ba9876543210", "torch 2.15.0", "2 CPU cores", "2026-01-31", "2 h 4 min"):
        assert fact in text


def test_nothing_done(tmp_path: Path) -> None:
    frame = results(3, failed=(-1, 0, 1, 2))
    written = write_report(tmp_path, frame, facts(25, None), [])
    assert [path.name for path in written] == ["results.csv", "family.json", "report.md", "report.html"]
    text = markdown(tmp_path)
    assert "**not finished: 0 of 25 done, 3 failed.**" in text
    assert not re.search(r"\bnan\b", text.lower())


def test_no_rows_yet(tmp_path: Path) -> None:
    write_report(tmp_path, results(3).iloc[:0], facts(25, None), [])
    assert "**not finished: 0 of 25 done.**" in markdown(tmp_path)


def test_one_done_of_many_with_the_baseline_lost(tmp_path: Path) -> None:
    frame = results(7, failed=(-1, 1, 2, 3, 4, 5, 6))
    frame.loc[frame["candidate"] == 1, "status"] = "done"
    frame.loc[frame["candidate"] == 1, "reason"] = ""
    write_report(tmp_path, frame, facts(25, None), [])
    text = markdown(tmp_path)
    assert "**not finished: 1 of 25 done, 6 failed.**" in text
    assert "Best so far: c000" in text
    assert "no accuracy was recorded" in text
    assert not (tmp_path / "family.png").exists()
    assert "best so far" not in text.split("## Figures")[0]


def test_bought_wins_and_an_unknown_spread_are_said(tmp_path: Path) -> None:
    frame = results(5)
    winners = replace(answer(frame, verdict="bought"), seed_sd=None)
    write_report(tmp_path, frame, replace(facts(5, None), winners=winners), [])
    text = markdown(tmp_path)
    assert "**Bought:** as accurate as the control or more, but at more FLOPs" in text
    assert "spread between seeds is unknown" in text


def test_full_training_is_not_called_a_proxy(tmp_path: Path) -> None:
    frame = results(1).query("role == 'candidate'")
    write_report(tmp_path, frame, facts(1, None, is_proxy=False, resolution_divisor=1, epochs=30), [])
    text = markdown(tmp_path)
    assert "**Accuracy comes from a short training at full size:**" in text
    assert "comes from a proxy" not in text


def test_names_cannot_break_the_markdown(tmp_path: Path) -> None:
    frame = results(1, failed=(-1, 0))
    run = facts(1, None)
    run = replace(run, data=replace(run.data, name="<b>x*\n## y"))
    write_report(tmp_path, frame, run, [])
    headings = [line for line in markdown(tmp_path).splitlines() if line.startswith("#")]
    assert headings[0] == "# Compound scaling for &lt;b>x\\* ## y: not finished"
    assert "## y" not in headings
    assert "<b>" not in markdown(tmp_path)


def test_foreign_coefficients_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="coefficients: found α 3"):
        write_report(tmp_path / "report", results(3), facts(3, Coefficients(3, 1, 1)), [])
    assert not (tmp_path / "report").exists()


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "results.csv").write_text("old")

    def refuse(source: Path, target: Path) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", refuse)
    with pytest.raises(UserError, match="disk full"):
        write_report(tmp_path, results(1, failed=(-1, 0)), facts(1, None), [])
    assert [path.name for path in tmp_path.iterdir()] == ["results.csv"]
    assert (tmp_path / "results.csv").read_text() == "old"
