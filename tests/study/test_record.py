"""A run's folder read as a whole: what it says is typed, and its files go together."""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scalesearch.errors import UserError
from scalesearch.study.answer import conclude, field, measured_speeds, recommend, write_answer
from scalesearch.study.outcomes import hits, packed, write_rows
from scalesearch.study.posterior import Floats32
from scalesearch.study.race import Race, Results, advance
from scalesearch.study.record import answered, newest_run, read_record
from scalesearch.study.row import Key, TrialResult
from scalesearch.study.statistics import Bools
from tests.family_runs import plan_of, written
from tests.study.contradictions import verified

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
    assert (answer.recommended, recommendation.winner) == ("c004", "c004")
    assert (answer.undecided, answer.rule) == ("", "score")
    assert len(record.rows) == len(record.results) == recommendation.done == 11
    assert record.provenance.images.validation == record.plan.validation
    assert record.commands[0].startswith("scalesearch grid")
    assert {one.row.name for one in record.summaries} == {"baseline", *(f"c{n:03d}" for n in range(6))}
    assert len(record.rungs) == 1 + 6
    assert record.complete
    assert record.leader is not None
    assert record.leader.row.name == "c004"


def test_families_that_were_trained_are_part_of_a_run(run: Path) -> None:
    assert read_record(run).families == ()
    for name in ("trained-glyphs", "trained-mine"):
        written(run / "family" / name, plan_of(("found", "depth"), 1, (), inherits=False), seeds=1)
    (run / "family" / "trained-nothing").mkdir()
    assert [one.folder.name for one in read_record(run).families] == ["trained-glyphs", "trained-mine"]
    edited(run / "family" / "trained-mine", "families.json", lambda values: values.update(format=99))
    record = read_record(run)  # who does not look at families is not kept from the rest
    with pytest.raises(UserError, match="trained-mine"):
        _ = record.families


def test_the_answer_of_the_first_version_follows_from_its_predictions() -> None:
    record = read_record(GOLDEN)
    kept, recommendation = answered(record)
    plan, candidates = record.plan, record.enumeration.candidates
    race, takers = Race(plan.train.epochs, 0, further=3), field(plan, candidates)
    state = advance(race, takers, record.results)
    assert state.wanted == ()
    answer = conclude(race, state, takers, candidates, record.results, measured_speeds(record.rows))
    assert answer is not None
    assert recommend(plan, answer, candidates, record.results, 0) == recommendation
    assert (answer.recommended, answer.complete, set(answer.speeds)) == ("c004", True, set(kept.speeds))
    for ours, theirs in zip(answer.standings, kept.standings, strict=True):
        assert (ours.name, ours.status, ours.seeds, ours.test) == (
            theirs.name,
            theirs.status,
            theirs.seeds,
            theirs.test,
        )
        assert ours.best == pytest.approx(theirs.best, abs=1e-3)
        assert ours.score is not None
        assert theirs.score is not None
        assert asdict(ours.score) == pytest.approx(asdict(theirs.score), abs=1e-6)
    for mine, old in zip(answer.comparisons, kept.comparisons, strict=True):
        assert (mine.control, mine.verdict) == (old.control, old.verdict)
        assert (mine.gap, mine.low, mine.high) == pytest.approx((old.gap, old.low, old.high), abs=1e-6)


def standing(place: int, **changes: Any) -> Edit:
    """The answer with another standing."""
    return lambda values: values["standings"][place].update(changes)


def compared(place: int, **changes: Any) -> Edit:
    """The answer with another comparison."""
    return lambda values: values["comparisons"][place].update(changes)


def sure(**changes: Any) -> Edit:
    """The answer with something else said of its certainty."""
    return lambda values: values["certainty"].update(changes)


CASES: dict[str, tuple[str, Edit, str]] = {
    "a mistyped status": ("rows.json", lambda v: v["rows"][3].update(status="dnoe"), r"rows\.json.*status"),
    "an accuracy of other predictions": ("rows.json", lambda v: v["rows"][2].update(top1=0.5), r"rows\.json.*top1"),
    "hits of other predictions": ("rows.json", lambda v: v["rows"][2].update(correct=700), r"rows\.json.*top1"),
    "a score of another accuracy": ("rows.json", lambda v: v["rows"][2].update(score=7.5), r"rows\.json.*score"),
    "a candidate that is not there": ("rows.json", lambda v: v["rows"][-1].update(candidate=99), r"rows\.json.*99"),
    "another network": ("rows.json", lambda v: v["rows"][-1].update(digest="0" * 12), r"rows\.json.*digest"),
    "a training twice": ("rows.json", lambda v: v["rows"].append(v["rows"][0]), r"rows\.json.*twice"),
    "another depth": ("rows.json", lambda v: v["rows"][-1].update(depth_ratio=1.3), r"rows\.json.*depth_ratio"),
    "another cost": ("rows.json", lambda v: v["rows"][-1].update(proxy_ratio=1.3), r"rows\.json.*proxy_ratio"),
    "other parameters": ("rows.json", lambda v: v["rows"][-1].update(params=5), r"rows\.json.*params"),
    "an unknown recommended one": ("winners.json", lambda v: v.update(recommended="c077"), r"winners.*recommended"),
    "a standing of an unknown candidate": ("winners.json", standing(0, name="c077"), r"winners\.json.*standings.*c077"),
    "a standing of another control": ("winners.json", standing(1, control="depth"), r"winners\.json.*standings.*c004"),
    "a standing twice": ("winners.json", lambda v: v["standings"].append(v["standings"][0]), r"winners\.json.*twice"),
    "a standing's other accuracy": ("winners.json", standing(1, measured=0.03), r"winners.*c004\.measured.*0\.68"),
    "a score beside its interval": (
        "winners.json", lambda v: v["standings"][1]["score"].update(value=0.9), r"standings\.c004\.score\.value.*0\.66",
    ),
    "unknown, yet decided": ("winners.json", standing(2, status="unknown"), r"standings\.c002\.status.*member"),
    "more probable than certain": ("winners.json", standing(2, best=1.5), r"winners\.json: standings\.c002\.best"),
    "probabilities of other sum": ("winners.json", standing(2, best=0.9), r"winners\.json: standings\.c002\.best"),
    "seeds that nobody trained": ("winners.json", standing(0, seeds=4), r"winners\.json: standings\.c000\.seeds"),
    "a level of 7": ("winners.json", lambda v: v.update(level=7), r"winners\.json.*level"),
    "a decision and a reason for none": ("winners.json", lambda v: v.update(undecided="why"), r"winners.*: undecided"),
    "a default beside a decision": ("winners.json", lambda v: v.update(rule="default"), r"winners\.json: rule.*score"),
    "a choice by speed that is the best": ("winners.json", lambda v: v.update(rule="speed"), r"winners\.json.*rule"),
    "another best one": (
        "winners.json", lambda v: (v["certainty"].update(best="c000", equivalents=["c000", "c004"]),
                                   v.update(rule="speed")), r"winners\.json: certainty\.best.*c004",
    ),
    "equivalents without the best": ("winners.json", sure(equivalents=["c000"]), r"winners\.json.*equivalents"),
    "equivalents that nobody knows": ("winners.json", sure(equivalents=["c004", "c077"]), r"winners.*equivalents"),
    "a recommended one that is none of them": (
        "winners.json", sure(equivalents=["c001", "c000"]), r"winners\.json.*equivalents",
    ),
    "a negative loss": ("winners.json", sure(loss=-0.1), r"winners\.json: certainty\.loss"),
    "a control that is none": ("winners.json", compared(0, dimension="width"), r"winners\.json.*comparisons"),
    "a gap of other parts": ("winners.json", compared(1, gap=-0.001), r"winners\.json.*gap"),
    "a cost that is not theirs": ("winners.json", compared(1, cost_ratio=1.5), r"winners\.json.*cost_ratio"),
    "a cost part of another cost": ("winners.json", compared(1, cost_part=0.5), r"winners\.json.*cost_part"),
    "a verdict beside its interval": ("winners.json", compared(1, verdict="won"), r"winners.*verdict.*not shown"),
    "an interval beside its verdict": ("winners.json", compared(0, low=-0.1), r"winners\.json: comparisons\[0\]\.low"),
    "not over, yet complete": ("winners.json", lambda v: v.update(complete=False), r"coefficients\.json.*complete"),
    "another winner": ("coefficients.json", lambda v: v.update(winner="c000"), r"coefficients\.json.*winner"),
    "an unknown winner": ("coefficients.json", lambda v: v.update(winner="c077"), r"coefficients\.json.*winner"),
    "another score": ("coefficients.json", lambda v: v.update(score=0.5), r"coefficients\.json.*score"),
    "other coefficients": (
        "coefficients.json", lambda v: v["coefficients"].update(alpha=1.3), r"coefficients\.json.*coefficients",
    ),
    "another step": (
        "coefficients.json", lambda v: v["coefficients"]["searched"]["end"].update(resolution=24),
        r"coefficients\.json.*coefficients",
    ),
    "another baseline": ("coefficients.json", lambda v: v["baseline"].update(resolution=32), r"coefficients.*baseline"),
    "more done than rows": ("coefficients.json", lambda v: v.update(done=40, total=40), r"coefficients\.json.*done"),
    "more done than there are": ("coefficients.json", lambda v: v.update(done=12), r"coefficients\.json.*12 of 11"),
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
    "another majority": lambda v: v.update(majority=0.5),
    "another length": lambda v: v.update(fully_trained=not v["fully_trained"]),
    "another best one": lambda v: v.update(
        best=next(n["name"] for n in v["networks"] if n["name"] != v["best"])),
    "another regret": lambda v: v["regret"].update(gap=0.5),
}  # fmt: skip


@pytest.mark.parametrize("since", [False, True], ids=["", "searched on since"])
@pytest.mark.parametrize("case", VERIFICATIONS)
def test_a_verification_that_does_not_go_with_its_search_is_refused(run: Path, case: str, since: bool) -> None:
    file = str(verified(run).relative_to(run))
    if since:
        edited(run, file, lambda values: values.update(searched=9))
    edited(run, file, VERIFICATIONS[case])
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
    soft = np.full(len(labels), 0.5, np.float32)
    for content, says in (
        (packed(labels, labels, soft), "correct"),  # all right
        (packed(labels[:5], predictions[:5], soft[:5]), "one for each image"),
        (packed(labels, predictions, soft[:5]), "one for each image"),
        (packed(labels, predictions, soft + 1), "from 0 to 1"),
        (packed(labels, predictions, soft * np.nan), "from 0 to 1"),
    ):
        second.write_bytes(content)
        with pytest.raises(UserError, match=says):
            read_record(run)
    second.unlink()
    with pytest.raises(UserError, match="predictions"):
        read_record(run)


def test_a_search_goes_on_while_it_is_read(run: Path) -> None:
    """Rows are written before the answer: an older answer is counted again from all of them."""
    newer = read_record(run)
    results, last = told(run), max(row.key for row in newer.rows)
    older = Results()
    for key, (right, soft) in results.items():
        if key != last:
            older.add(key, right, soft)
    plan, candidates = newer.plan, newer.enumeration.candidates
    race, takers = Race(plan.train.epochs, 0, further=3), field(plan, candidates)
    answer = conclude(race, advance(race, takers, older), takers, candidates, older, measured_speeds(newer.rows))
    assert answer is not None
    assert not answer.complete
    write_answer(run, answer, recommend(plan, answer, candidates, older, 1))
    record = read_record(run)
    assert record.answer is not None
    assert record.answer.standings == answered(newer)[0].standings != answer.standings
    assert not record.complete
    edited(run, "coefficients.json", lambda values: values.update(done=12, total=13))
    with pytest.raises(UserError, match=r"coefficients\.json: done.*12 trainings, but 11 rows"):
        read_record(run)


def told(run: Path) -> dict[Key, tuple[Bools, Floats32]]:
    """What the trainings of a run showed, from its files."""
    known = {}
    for row in read_record(run).rows:
        found = hits(TrialResult(row, (run / "predictions" / f"{row.file}.npz").read_bytes()))
        assert found is not None
        known[row.key] = found
    return known


def test_at_every_moment_of_a_search(run: Path) -> None:
    """From the baseline's first training to the last further seed, what a search writes is read back."""
    record, known = read_record(run), told(run)
    plan, candidates, results = record.plan, record.enumeration.candidates, Results()
    race, takers, undecided = Race(plan.train.epochs, 0, further=3), field(plan, candidates), set[str]()
    for name in ("winners.json", "coefficients.json"):
        (run / name).unlink()
    while keys := advance(race, takers, results).wanted:
        results.add(keys[0], *known[keys[0]])
        rows = [row for row in record.rows if row.key in results]
        write_rows(run, rows, plan.digest)
        read_record(run)
        state = advance(race, takers, results)
        answer = conclude(race, state, takers, candidates, results, measured_speeds(rows))
        assert answer is not None
        write_answer(run, answer, recommend(plan, answer, candidates, results, len(state.wanted)))
        assert read_record(run).answer == answer
        undecided.add(answer.undecided)
    assert undecided == {
        "", "no candidate has been trained to the end", "only one candidate has been trained to the end",
    }  # fmt: skip
    assert len(results) == len(record.rows)


def test_no_answer_yet(run: Path) -> None:
    (run / "winners.json").unlink()
    with pytest.raises(UserError, match=r"coefficients\.json: it is there without winners\.json"):
        read_record(run)
    (run / "coefficients.json").unlink()
    record = read_record(run)
    assert record.answer is None
    with pytest.raises(UserError, match=r"winners\.json: there is no such file, though 11 trainings ended"):
        answered(record)


def test_newest_run(tmp_path: Path) -> None:
    assert newest_run(tmp_path) is None
    for name in ("b", "a"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "coefficients.json").touch()
    import os

    os.utime(tmp_path / "b" / "coefficients.json", (1, 1))
    assert newest_run(tmp_path) == tmp_path / "a"
