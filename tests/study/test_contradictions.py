"""Every well-formed change of a run's folder is refused, counts for nothing, or could not be contradicted."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scalesearch.errors import UserError
from scalesearch.study.plan import SearchPlan
from scalesearch.study.record import read_record
from tests.study.contradictions import Mutation, copied, mutations, shown
from tests.study.runs import golden, ordered, undecided

EVERY = 401  # of the mutations that a usual run tries; the slow one tries all
Make = Callable[[Path], Path]


RUNS: tuple[Make, ...] = (golden, ordered, undecided)


@pytest.mark.parametrize("share", [EVERY, pytest.param(1, marks=[pytest.mark.slow, pytest.mark.timeout(7200)])])
@pytest.mark.parametrize("make", RUNS)
def test_a_contradiction_is_refused_or_counts_for_nothing(make: Make, share: int, tmp_path: Path) -> None:
    run = make(tmp_path / "run")
    before, work, told = shown(read_record(run)), copied(run, tmp_path / "work"), dict[str, int]()
    for mutation in list(mutations(run))[::share]:
        outcome = judged(mutation, work, before)
        told[outcome] = told.get(outcome, 0) + 1
        restore(mutation, run, work)
    assert set(told) <= {"refused", "same", "free"}
    assert told["refused"] > 0.8 * sum(told.values())


def judged(mutation: Mutation, work: Path, before: dict[str, Any]) -> str:
    """What comes of a changed folder."""
    mutation.apply(work)
    try:
        after = shown(read_record(work))
    except UserError as error:
        return "refused" if str(work) in error.where or error.where == "--run" else f"{mutation.name}: {error}"
    if after == before:
        return "same"
    differing = [name for name in after if after[name] != before[name]]
    assert mutation.free, f"{mutation.name}: read all the same, with other {', '.join(differing)}"
    return "free"


def restore(mutation: Mutation, run: Path, work: Path) -> None:
    """The folder as it was."""
    if mutation.file.endswith(".json"):
        (work / mutation.file).write_bytes((run / mutation.file).read_bytes())
    else:
        copied(run, work)


def test_the_share_of_the_most_frequent_class_is_counted(tmp_path: Path) -> None:
    """Also where the plan and all its digests agree on another."""
    run = ordered(tmp_path / "run")
    values = json.loads((run / "run.json").read_text())
    values["plan"]["majority"] = 0.5
    values["plan_digest"] = SearchPlan.from_dict(values["plan"]).digest
    (run / "run.json").write_text(json.dumps(values))
    rows = json.loads((run / "rows.json").read_text())
    (run / "rows.json").write_text(json.dumps({**rows, "plan_digest": values["plan_digest"]}))
    with pytest.raises(UserError, match=r"run\.json: plan\.majority: 0\.5 is stated, but 0\.25"):
        read_record(run)


def test_models_of_other_images_are_named(tmp_path: Path) -> None:
    run = golden(tmp_path / "run")
    values = json.loads((run / "models" / "b1-glyphs" / "metrics.json").read_text())
    (run / "models" / "b1-glyphs" / "metrics.json").write_text(json.dumps({**values, "source_digest": "other"}))
    record = read_record(run)
    assert (record.trainings, record.elsewhere) == ((), ("b1-glyphs",))
