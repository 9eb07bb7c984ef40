"""A run's folder read as a whole: what it says is typed, and its files go together."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scalesearch.errors import UserError
from scalesearch.study.answer import conclude, recommend, write_answer
from scalesearch.study.plan import runners
from scalesearch.study.race import Results, advance, exhaustive, usual
from scalesearch.study.record import answered, newest_run, packed, read_record, write_rows
from scalesearch.study.verification import compare_sizes, folder_of, scaled, trials, write_verification

GOLDEN = Path(__file__).parents[1] / "golden" / "run-0.1.0"
Edit = Callable[[dict[str, Any]], object]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return Path(shutil.copytree(GOLDEN, tmp_path / "run"))


def edited(run: Path, file: str, edit: Edit) -> None:
    values = json.loads((run / file).read_text())
    edit(values)
    (run / file).write_text(json.dumps(values))


def test_a_run_of_the_first_version_is_read_whole() -> None:
    record = read_record(GOLDEN)
    answer, recommendation = answered(record)
    assert (answer.recommended, recommendation.winner) == ("c002", "c002")
    assert len(record.rows) == len(record.results) == recommendation.done == 12
    assert record.provenance.images.validation == record.plan.validation
    assert record.commands[0].startswith("scalesearch grid")
    assert [one.row.name for one in record.summaries] == ["baseline", "c002", "c000", "c001"]
    assert len(record.rungs) == 8
    assert record.complete
    assert record.leader is not None
    assert record.leader.row.name == "c002"


def test_the_answer_of_the_first_version_follows_from_its_predictions() -> None:
    record = read_record(GOLDEN)
    kept, recommendation = answered(record)
    plan, candidates, race = record.plan, record.enumeration.candidates, usual(3)
    state = advance(race, runners(plan, candidates), record.results)
    answer = conclude(race, state, candidates, record.results, plan.target_macs)
    assert answer is not None
    assert recommend(plan, answer, candidates, record.results, 0) == recommendation
    assert (answer.recommended, answer.complete, answer.rungs) == (kept.recommended, kept.complete, kept.rungs)
    for ours, theirs in zip(answer.standings, kept.standings, strict=True):
        assert (ours.name, ours.status, ours.seeds) == (theirs.name, theirs.status, theirs.seeds)
        assert (ours.score, ours.low, ours.high) == pytest.approx((theirs.score, theirs.low, theirs.high), abs=1e-12)
    for mine, old in zip(answer.comparisons, kept.comparisons, strict=True):
        assert (mine.control, mine.verdict, mine.accuracy_part) == (old.control, old.verdict, old.accuracy_part)
        assert (mine.gap, mine.low, mine.high) == pytest.approx((old.gap, old.low, old.high), abs=1e-12)


CASES: dict[str, tuple[str, Edit, str]] = {
    "a mistyped status": ("rows.json", lambda v: v["rows"][3].update(status="dnoe"), r"rows\.json.*status"),
    "an accuracy of other predictions": ("rows.json", lambda v: v["rows"][2].update(top1=0.5), r"rows\.json.*top1"),
    "hits of other predictions": ("rows.json", lambda v: v["rows"][2].update(correct=700), r"rows\.json.*correct"),
    "a score of another accuracy": ("rows.json", lambda v: v["rows"][2].update(score=7.5), r"rows\.json.*score"),
    "a candidate that is not there": ("rows.json", lambda v: v["rows"][-1].update(candidate=99), r"rows\.json.*99"),
    "another network": ("rows.json", lambda v: v["rows"][-1].update(digest="0" * 12), r"rows\.json.*digest"),
    "a training twice": ("rows.json", lambda v: v["rows"].append(v["rows"][0]), r"rows\.json.*twice"),
    "an unknown recommended one": ("winners.json", lambda v: v.update(recommended="c077"), r"winners.*recommended"),
    "a standing of an unknown candidate": (
        "winners.json", lambda v: v["standings"][0].update(name="c077"), r"winners\.json.*standings.*c077",
    ),
    "a standing twice": ("winners.json", lambda v: v["standings"].append(v["standings"][0]), r"winners\.json.*twice"),
    "a standing's other score": (
        "winners.json", lambda v: v["standings"][1].update(score=0.03, low=0.0, high=1.0), r"winners\.json.*score",
    ),
    "seeds that nobody trained": ("winners.json", lambda v: v["standings"][0].update(seeds=4), r"winners.*4 train"),
    "a level of 7": ("winners.json", lambda v: v.update(level=7), r"winners\.json.*level"),
    "a control that is none": (
        "winners.json", lambda v: v["comparisons"][0].update(dimension="width"), r"winners\.json.*comparisons",
    ),
    "another depth": ("rows.json", lambda v: v["rows"][-1].update(alpha=1.3), r"rows\.json.*alpha"),
    "other parameters": ("rows.json", lambda v: v["rows"][-1].update(params=5), r"rows\.json.*params"),
    "a gap of other scores": ("winners.json", lambda v: v["comparisons"][1].update(gap=0.5), r"winners\.json.*gap"),
    "a cost that is not theirs": (
        "winners.json", lambda v: v["comparisons"][1].update(cost_ratio=1.5), r"winners\.json.*cost_ratio",
    ),
    "a verdict beside its interval": (
        "winners.json", lambda v: v["comparisons"][0].update(verdict="won"), r"winners\.json.*verdict.*not shown",
    ),
    "a comparison of other trainings": (
        "winners.json", lambda v: v["comparisons"][0].update(epochs=2), r"winners\.json.*2 epochs",
    ),
    "not over, yet complete": ("winners.json", lambda v: v.update(complete=False), r"coefficients\.json.*complete"),
    "another winner": ("coefficients.json", lambda v: v.update(winner="c000"), r"coefficients\.json.*winner"),
    "other coefficients": (
        "coefficients.json", lambda v: v["coefficients"].update(alpha=1.3), r"coefficients\.json.*coefficients",
    ),
    "another baseline": ("coefficients.json", lambda v: v["baseline"].update(resolution=32), r"coefficients.*baseline"),
    "more done than rows": ("coefficients.json", lambda v: v.update(done=40, total=40), r"coefficients\.json.*done"),
    "more done than there are": ("coefficients.json", lambda v: v.update(done=13), r"coefficients\.json.*13 of 12"),
    "another plan": ("run.json", lambda v: v["plan"].update(target_macs=3e6), r"run\.json.*plan_digest"),
    "other images": ("run.json", lambda v: v["images"].update(validation=3), r"run\.json.*validation"),
    "other candidates": ("run.json", lambda v: v.update(candidates=4), r"run\.json.*candidates"),
    "text for a number": ("run.json", lambda v: v.update(seconds="long"), r"run\.json.*seconds"),
    "no date": ("run.json", lambda v: v.pop("date"), r"run\.json.*date"),
    "a plan of nothing": ("run.json", lambda v: v.update(plan=None), r"run\.json.*plan"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_files_that_do_not_go_together_are_refused(run: Path, case: str) -> None:
    file, edit, blame = CASES[case]
    edited(run, file, edit)
    with pytest.raises(UserError, match=blame):
        read_record(run)


def verified(run: Path) -> Path:
    """A verification of the run at φ = 2, with predictions that were thrown."""
    record = read_record(run)
    plan, (answer, _) = record.plan, answered(record)
    networks = scaled(plan, answer, record.enumeration.candidates, 2.0)
    wanted, rng, at_phi = trials(plan, networks, 2, None), np.random.default_rng(0), Results()
    for one in wanted:
        at_phi.add(one.key, rng.random(plan.validation) < 0.5)
    verification = compare_sizes(plan, answer.recommended, networks, 2.0, wanted, record.results, at_phi)
    write_verification(folder_of(run, 2.0), verification)
    assert read_record(run).verifications == (verification,)
    return folder_of(run, 2.0) / "verify.json"


VERIFICATIONS: dict[str, Edit] = {
    "a network of another search": lambda v: v["networks"][0].update(name="c077"),
    "a network twice": lambda v: v["networks"].append(v["networks"][0]),
    "another recommended one": lambda v: v.update(recommended="c077"),
    "another score": lambda v: v["networks"][0]["at_phi"].update(value=0.9),
    "another score at one": lambda v: v["networks"][0]["at_one"].update(value=0.9),
    "another accuracy": lambda v: v["networks"][1].update(accuracy=0.9),
    "another rank": lambda v: v["networks"][1].update(rank_at_phi=7),
    "other FLOPs": lambda v: v["networks"][1].update(ratio=7.0),
    "other images": lambda v: v.update(images=5),
    "other classes": lambda v: v.update(classes=5),
    "another length": lambda v: v.update(fully_trained=not v["fully_trained"]),
    "another best one": lambda v: v.update(
        best=next(n["name"] for n in v["networks"] if n["name"] != v["best"])),
    "another regret": lambda v: v["regret"].update(gap=0.5),
}  # fmt: skip


@pytest.mark.parametrize("case", VERIFICATIONS)
def test_a_verification_that_does_not_go_with_its_search_is_refused(run: Path, case: str) -> None:
    edited(run, str(verified(run).relative_to(run)), VERIFICATIONS[case])
    with pytest.raises(UserError, match=r"verify\.json"):
        read_record(run)


def test_an_answer_is_read_while_it_is_replaced(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The two files are replaced one after the other; who reads between the two looks again."""
    newer = (run / "coefficients.json").read_text()
    edited(run, "coefficients.json", lambda values: values.update(done=values["done"] - 1))
    monkeypatch.setattr("time.sleep", lambda seconds: (run / "coefficients.json").write_text(newer))
    assert read_record(run).complete


def test_predictions_are_part_of_it(run: Path) -> None:
    first, second = sorted((run / "predictions").iterdir())[:2]
    with np.load(first) as arrays:
        labels, predictions = arrays["labels"].astype(np.int64), arrays["predictions"].astype(np.int64)
    second.write_bytes(packed(labels, labels))  # all right
    with pytest.raises(UserError, match="correct"):
        read_record(run)
    second.write_bytes(packed(labels[:5], predictions[:5]))
    with pytest.raises(UserError, match="one for each image"):
        read_record(run)
    second.unlink()
    with pytest.raises(UserError, match="predictions"):
        read_record(run)


def test_a_search_goes_on_while_it_is_read(run: Path) -> None:
    """Rows are written before the answer: an answer may be older than the rows beside it."""
    first, second = (row.score for row in read_record(run).rows if row.candidate == 1)
    assert first != second

    def earlier(values: dict[str, Any], seeds: int = 1, score: float | None = first) -> None:
        values["standings"][2].update(seeds=seeds, score=score)

    edited(run, "winners.json", earlier)
    assert read_record(run).answer is not None
    edited(run, "winners.json", lambda values: earlier(values, seeds=2))  # as older versions counted them
    assert read_record(run).answer is not None
    edited(run, "winners.json", lambda values: earlier(values, score=second))
    with pytest.raises(UserError, match=r"winners\.json.*score"):
        read_record(run)


def test_at_every_moment_of_a_search(run: Path) -> None:
    """In a rung of two seeds that is half over, the scores are of one; and so where more seeds are trained already."""
    record = read_record(run)
    plan, candidates = record.plan, record.enumeration.candidates
    for races in ((usual(3),), (exhaustive(usual(1, seeds=2)), usual(1))):
        results = Results()
        (run / "winners.json").unlink(missing_ok=True)
        for race in races:
            while keys := advance(race, runners(plan, candidates), results).wanted:
                results.add(keys[0], record.results.seeds(keys[0][0], keys[0][2])[keys[0][1]])
                state = advance(race, runners(plan, candidates), results)
                write_rows(run, [row for row in record.rows if row.key in results], plan.digest)
                read_record(run)
                if (answer := conclude(race, state, candidates, results, plan.target_macs)) is not None:
                    wanted = len(state.wanted)
                    write_answer(run, answer, recommend(plan, answer, candidates, results, wanted))
                    assert read_record(run).answer == answer


def test_no_answer_yet(run: Path) -> None:
    (run / "winners.json").unlink()
    record = read_record(run)
    assert record.answer is None
    with pytest.raises(UserError, match="no candidate has a result"):
        answered(record)


def test_newest_run(tmp_path: Path) -> None:
    assert newest_run(tmp_path) is None
    for name in ("b", "a"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "coefficients.json").touch()
    import os

    os.utime(tmp_path / "b" / "coefficients.json", (1, 1))
    assert newest_run(tmp_path) == tmp_path / "a"
