"""The record of families trained side by side: everything that their folder says, read once and held against itself.

``families.json`` (the plan and where it is from), ``rows.json`` and ``predictions/``, copies of what the ledger holds,
``models/``, the trained networks, and ``latencies.json``, what they take in use, once that was measured.
"""

import contextlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from scalesearch.design.cost import cost
from scalesearch.errors import UserError
from scalesearch.files import load, read_json, require_regular
from scalesearch.study.agreement import conflict
from scalesearch.study.config import is_number
from scalesearch.study.family_plan import (
    MOST_RATES,
    FamilyPlan,
    MemberTrial,
    member_row,
    member_trial,
    planned,
    rate_of,
)
from scalesearch.study.outcomes import hits, predictions_file, read_rows, unpacked
from scalesearch.study.plan import Measurement
from scalesearch.study.race import Results
from scalesearch.study.row import MemberRow, TrialResult, parse_member_row
from scalesearch.study.statistics import Ints

FAMILIES_FILE, LATENCIES_FILE = "families.json", "latencies.json"
FORMAT = 1
LATENCIES_FORMAT = 1
TRAINED = "trained-"  # and the images' name: a folder of families
WHAT = "families trained by scalesearch"
MEND = "Run the same command again to mend it."


@dataclass(frozen=True)
class Latencies:
    """What one image takes each network, measured by turns while none was trained.

    Args:
        plan_digest: of the families; ``milliseconds`` by network.
        how: it was measured, in words; ``busy``: whether something else ran meanwhile.
    """

    plan_digest: str
    milliseconds: Mapping[str, float]
    how: str
    busy: bool

    def __post_init__(self) -> None:
        if not all(value > 0 for value in self.milliseconds.values()):
            raise ValueError(f"a network that takes {min(self.milliseconds.values()):g} ms")


@dataclass(frozen=True, eq=False)
class FamilyRecord:
    """Families as their folder holds them, finished or not.

    Args:
        seeds: trainings of each network that were asked for last, besides those that choose a learning rate.
        rows: by network, rate and seed; ``results``: which images each training got right, of its part.
        commands: as typed, each once, in order; ``versions``, ``hardware``, ``date``: of the first call.
        latencies: None while they were not measured.
    """

    folder: Path
    plan: FamilyPlan
    seeds: int
    rows: tuple[MemberRow, ...]
    results: Results
    commands: tuple[str, ...]
    versions: dict[str, str]
    hardware: str
    date: str
    latencies: Latencies | None = None

    @cached_property
    def left(self) -> tuple[MemberTrial, ...]:
        """Trainings without a result that there still will be."""
        return tuple(one for one, _ in planned(self.plan, self.seeds, self.results) if one.key not in self.results)

    def of(self, number: int) -> tuple[MemberRow, ...]:
        """The rows of a contender that were judged on test images, by seed."""
        rate = rate_of(self.plan, self.results, number)
        arm = None if rate is None else number * MOST_RATES + rate
        return tuple(row for row in self.rows if row.arm == arm and row.judged_on == "test")

    def right(self, number: int) -> Any:
        """Which test images each of a contender's trainings got right: bool (seeds, images)."""
        done = [row for row in self.of(number) if row.status == "done"]
        return np.array([self.results.seeds(row.arm, row.epochs)[row.seed] for row in done]).reshape(
            len(done), self.plan.test
        )


def read_family(folder: Path) -> FamilyRecord:
    """The record of a folder that ``family --train`` made.

    Raises:
        UserError: no such folder, one of another version, a damaged file, or files that contradict one another.
    """
    path = folder / FAMILIES_FILE
    if not path.is_file():
        do = 'Run "scalesearch family --train b0..b3" first, or name such a folder.'
        raise UserError(str(folder), f"there is no {FAMILIES_FILE}, so no families were trained there.", do=do)
    values = read_json(path, WHAT)
    if values.get("format") != FORMAT:
        raise UserError(str(path), f"it has format {values.get('format')!r:.20}; this version reads {FORMAT}.")
    plan = FamilyPlan.from_dict(values.get("plan"), f"{path}: plan")
    seeds = values.get("seeds")
    if values.get("plan_digest") != plan.digest:
        raise conflict(f"{path}: plan_digest", values.get("plan_digest"), plan.digest, "the plan beside it", "")
    if not is_number(seeds) or not isinstance(seeds, int) or seeds < 1:
        raise UserError(f"{path}: seeds", f"{seeds!r:.20} is no number of trainings.", do=MEND)
    rows = read_rows(folder, plan.digest, parse_member_row)
    results = _results(folder, plan, rows)
    for row in rows:
        _check_row(f"{folder / 'rows.json'}: {row.file}", plan, row, results)
    texts = {name: values.get(name) for name in ("hardware", "date")}
    commands, versions = values.get("commands"), values.get("versions")
    if not (isinstance(commands, list) and all(isinstance(one, str) for one in (*commands, *texts.values()))):
        raise UserError(str(path), "it does not say how it was made.", do=MEND)
    versions = {str(name): str(value) for name, value in versions.items()} if isinstance(versions, dict) else {}
    told = tuple(dict.fromkeys(commands))
    return FamilyRecord(
        folder, plan, seeds, rows, results, told, versions, str(texts["hardware"]), str(texts["date"]),
        _latencies(folder, plan),
    )  # fmt: skip


def _latencies(folder: Path, plan: FamilyPlan) -> Latencies | None:
    """None where there are none, or damaged or foreign ones: the next call measures again."""
    path, names = folder / LATENCIES_FILE, {one.name for one in plan.contenders}
    if path.exists():
        with contextlib.suppress(UserError):
            measured = load(Latencies, path, "the latencies of families", LATENCIES_FORMAT)
            if measured.plan_digest == plan.digest and set(measured.milliseconds) == names:
                return measured
    return None


def family_values(plan: FamilyPlan, seeds: int, facts: dict[str, Any]) -> dict[str, Any]:
    """What ``families.json`` holds; ``facts``: commands, versions, hardware, date and the like."""
    return {**facts, "format": FORMAT, "seeds": seeds, "plan": plan.to_dict(), "plan_digest": plan.digest}


def _results(folder: Path, plan: FamilyPlan, rows: Sequence[MemberRow]) -> Results:
    """What each training showed. Raises UserError where predictions are gone, damaged, or of other images."""
    labels: dict[str, Ints] = {}
    results = Results()
    counts = {"validation": plan.validation, "test": plan.test}
    for row in rows:
        if row.status == "failed":
            results.add(row.key, None)
            continue
        path = predictions_file(folder, row)
        require_regular(path, "the predictions of a training")
        result = TrialResult(row, path.read_bytes())
        of, predictions, _ = unpacked(result, str(path))
        if len(of) != counts[row.judged_on] or not np.array_equal(of, labels.setdefault(row.judged_on, of)):
            raise UserError(f"{path}: labels", "they are not those of the other trainings.", do=MEND)
        if max(of.max(), predictions.max()) >= plan.classes:
            raise UserError(f"{path}: labels", f"some are not among {plan.classes} classes.", do=MEND)
        results.add(row.key, *(hits(result, str(path)) or (None,)))
    if "test" in labels:
        follows = float(np.bincount(labels["test"]).max() / plan.test)
        if not math.isclose(plan.majority, follows):
            raise conflict(f"{folder / FAMILIES_FILE}: plan.majority", plan.majority, follows, "the test labels", "")
    return results


def _check_row(where: str, plan: FamilyPlan, row: MemberRow, results: Results) -> None:
    """Raises UserError for a row that is not of the plan, or counts other images right than its predictions show."""
    number, rate = divmod(row.arm, MOST_RATES)
    if number >= len(plan.contenders) or rate >= len(plan.rates):
        raise UserError(where, "the plan has no such network and learning rate.", do=MEND)
    trial, failed = member_trial(plan, number, rate, row.seed), row.status == "failed"
    counts = {"validation": plan.validation, "test": plan.test}
    correct, images = (0, 0) if failed else (row.correct, counts[trial.judged_on])
    measured = Measurement(
        cost(trial.spec).macs, row.fvcore_total, correct, images, row.train_loss or 0.0, row.seconds,
        (row.reason or "unknown") if failed else "", row.note, row.latency_ms,
    )  # fmt: skip
    follows = json.loads(json.dumps(member_row(plan, trial, measured).to_dict()))
    for name, stated in json.loads(json.dumps(row.to_dict())).items():
        if stated != follows[name]:
            raise conflict(f"{where}: {name}", stated, follows[name], "the plan and its own counts", MEND)
    if not failed:
        counted = int(results.seeds(row.arm, row.epochs)[row.seed].sum())
        if row.correct != counted:
            raise conflict(f"{where}: correct", row.correct, counted, "its predictions", MEND)
