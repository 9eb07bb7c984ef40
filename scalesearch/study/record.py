"""The record of a run: everything that its folder says, read once, typed, and held against itself.

``run.json`` (the plan and where it is from), ``rows.json`` and ``predictions/`` (``outcomes``), ``winners.json`` and
``coefficients.json`` (the answer), ``verify-phi*/verify.json``, ``models/*/metrics.json``, and ``family/trained-*/``
(families trained side by side). Every command that looks at a run looks at its ``Record``. What files must agree on is
in ``agreement``.
"""

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from scalesearch.design.candidates import Candidate, Enumeration
from scalesearch.design.cost import cost
from scalesearch.design.family import FAMILY_FOLDER
from scalesearch.design.spec import NetSpec
from scalesearch.errors import UserError
from scalesearch.files import read_json, require_regular
from scalesearch.study.agreement import (
    MEND,
    Trainings,
    check_counts,
    check_row,
    check_verification,
    conflict,
    counted_answer,
    trial_at,
)
from scalesearch.study.answer import (
    ANSWER_FILE,
    RECOMMENDATION_FILE,
    Answer,
    Recommendation,
    read_answer,
    read_recommendation,
)
from scalesearch.study.confusion import Confusion, confusion
from scalesearch.study.family_record import FAMILIES_FILE, TRAINED, FamilyRecord, read_family
from scalesearch.study.measured import MeasuredNetworks, read_measured
from scalesearch.study.outcomes import ROWS_FILE, predictions_file, read_rows, unpacked
from scalesearch.study.plan import SearchPlan, Trial, trial
from scalesearch.study.race import Results
from scalesearch.study.row import BASELINE, Row, TrialResult, parse_row
from scalesearch.study.summary import NetworkSummary, rung_summaries, summarise
from scalesearch.study.verification import FILE as VERIFICATION_FILE
from scalesearch.study.verification import Verification, folder_of, read_verifications
from scalesearch.typed import parse
from scalesearch.units import counted

Placed = tuple[Trial, Candidate | None]
RUN_FILE, METRICS_FILE, MODEL_FILE = "run.json", "metrics.json", "model.safetensors"
FORMAT = 5  # of run.json
REPEAT = "Verify again to mend it, or delete its folder."
WHAT = "a run of scalesearch"
TRIES, PAUSE_SECONDS = 4, 0.1  # for two files that are replaced one after the other


@dataclass(frozen=True)
class ImageCounts:
    """Images of each part."""

    train: int
    validation: int
    test: int

    def __post_init__(self) -> None:
        if min(self.train, self.validation, self.test) < 0:
            raise ValueError(f"{self.train}, {self.validation} and {self.test} images")


@dataclass(frozen=True)
class Invocation:
    """A later call that continued the run."""

    command: str


@dataclass(frozen=True)
class Provenance:
    """What ``run.json`` says besides the plan: who made the run, with what, of which images.

    Args:
        command: as typed; ``continued``: the later calls.
        versions, hardware, date: of the first call.
        data_argument: what was given as --data; ``source_digest`` of all its images, ``notes`` on them.
        class_names: of the ``classes``; earlier versions kept none.
        storage: where the ledger is.
        seconds: wall time of all calls together; 0 while the first one runs.
    """

    command: str
    versions: Mapping[str, str]
    hardware: str
    date: str
    data_argument: str
    classes: int
    images: ImageCounts
    source_digest: str
    storage: str
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    continued: tuple[Invocation, ...] = ()
    class_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.seconds < 0:
            raise ValueError(f"{self.seconds:g} seconds")
        if self.class_names and len(self.class_names) != self.classes:
            raise ValueError(f"{len(self.class_names)} names of {self.classes} classes")


@dataclass(frozen=True)
class TestAccuracy:
    """A trained member on the test images."""

    top1: float
    correct: int
    images: int

    def __post_init__(self) -> None:
        if not 0 <= self.correct <= self.images > 0 or not math.isclose(self.top1, self.correct / self.images):
            raise ValueError(f"{self.correct} of {self.images} images right are not {self.top1:g}")


@dataclass(frozen=True)
class EpochMetrics:
    """An epoch of a member's training, counted from 0, and what was measured on validation images after it."""

    epoch: int
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class MemberTraining:
    """A member of the family that was trained in the run's folder, on the data of the search.

    Args:
        start: "scratch", or the name of the weights it began with.
    """

    model: str
    macs: int
    start: str
    source_digest: str
    command: str
    test: TestAccuracy
    history: tuple[EpochMetrics, ...] = ()
    folder: Path = field(default=Path())

    def __post_init__(self) -> None:
        epochs = [one.epoch for one in self.history]
        if epochs != list(range(len(epochs))):
            raise ValueError(f"the history is of the epochs {epochs}")


@dataclass(frozen=True, eq=False)
class Record:
    """A run as its folder holds it, finished or not.

    Args:
        enumeration: the plan's candidates.
        rows: by candidate, seed and epochs; ``results``: which validation images each training got right.
        answer, recommendation: None while no candidate has a result.
        verifications: by φ; ``trainings``: of the family's members; ``elsewhere``: folders of models in the run's that
            were trained on other images, and so are not shown.
    """

    folder: Path
    plan: SearchPlan
    provenance: Provenance
    rows: tuple[Row, ...]
    results: Results
    answer: Answer | None
    recommendation: Recommendation | None
    verifications: tuple[Verification, ...]
    trainings: tuple[MemberTraining, ...]
    elsewhere: tuple[str, ...] = ()

    @cached_property
    def enumeration(self) -> Enumeration:
        """What the plan's grid comes to."""
        return self.plan.enumerate()

    @cached_property
    def summaries(self) -> tuple[NetworkSummary, ...]:
        """One for each network with a result: those trained longest first, then by score."""
        return summarise(self.rows, self.results, self.answer)

    @cached_property
    def rungs(self) -> tuple[NetworkSummary, ...]:
        """One for each network and number of epochs with a result."""
        return rung_summaries(self.rows, self.results, self.answer)

    @cached_property
    def measured(self) -> MeasuredNetworks | None:
        """Latencies of the baseline and of members, as measured; None where none were to be."""
        return read_measured(self.folder, self.plan.digest)

    @cached_property
    def families(self) -> tuple[FamilyRecord, ...]:
        """Families that were trained side by side by this search's coefficients, on one set of images each."""
        paths = sorted((self.folder / FAMILY_FOLDER).glob(f"{TRAINED}*/{FAMILIES_FILE}"))
        return tuple(read_family(path.parent) for path in paths)

    @property
    def leader(self) -> NetworkSummary | None:
        """The recommended candidate, None where it was not trained; or the first one where there is no answer yet."""
        candidates = [one for one in self.summaries if not one.is_baseline]
        if self.answer is not None:
            candidates = [one for one in candidates if one.row.name == self.answer.recommended]
        return candidates[0] if candidates else None

    @cached_property
    def confusion(self) -> Confusion | None:
        """What the candidate in front takes for what, by its trainings that went furthest; None without any."""
        if self.leader is None:
            return None
        first = self.leader.row
        rows = [row for row in self.rows if (row.candidate, row.epochs) == (first.candidate, first.epochs)]
        names = self.provenance.class_names or tuple(f"class {n}" for n in range(self.provenance.classes))
        return confusion(self.folder, [row for row in rows if row.status == "done"], names)

    @property
    def complete(self) -> bool:
        """Whether the race has been run to its end."""
        return self.recommendation is not None and self.recommendation.complete

    @property
    def commands(self) -> tuple[str, ...]:
        """What was typed, each command once, in order."""
        typed = [self.provenance.command, *(call.command for call in self.provenance.continued)]
        return tuple(dict.fromkeys([*typed, *(training.command for training in self.trainings)]))


def read_record(folder: Path) -> Record:
    """The record of a run: its answer is counted again from the predictions of all its trainings.

    Raises:
        UserError: no run there, one of another version, a damaged file, or files that contradict one another.
    """
    path = folder / RUN_FILE
    if not path.is_file():
        raise UserError(
            "--run", f"there is no {RUN_FILE} in {folder}, so it is not the folder of a search.",
            do='Run "scalesearch grid" first, or name such a folder.',
        )  # fmt: skip
    values = read_json(path, WHAT)
    check_format(folder, values)
    plan = SearchPlan.from_dict(values.get("plan"), f"{path}: plan")
    provenance = parse(Provenance, values, str(path), WHAT, extra=True)
    _check_plan(path, plan, provenance, values)
    # the answer before the rows: a search that runs meanwhile writes rows first, so none can be missing
    stated = _read_answers(folder)
    candidates = plan.enumerate().candidates
    trained = _read_trainings(folder, plan, lambda row, where: _searched(plan, candidates, row, where))
    answer: Answer | None = None
    recommendation: Recommendation | None = None
    verifications: tuple[Verification, ...] = ()
    if stated is not None:
        files = (folder / ANSWER_FILE, folder / RECOMMENDATION_FILE)
        answer, recommendation = counted_answer(trained, *stated, files)
        verifications = _verifications(folder, trained, answer)
    members = _members(folder, provenance)
    ours = tuple(one for one in members if one.source_digest == provenance.source_digest)
    elsewhere = tuple(one.folder.name for one in members if one not in ours)
    return Record(
        folder, plan, provenance, tuple(trained.rows), trained.results, answer, recommendation, verifications, ours,
        elsewhere,
    )  # fmt: skip


def _searched(plan: SearchPlan, candidates: Sequence[Candidate], row: Row, where: str) -> Placed:
    """The trial of a search that a row is of."""
    if row.candidate >= len(candidates):
        raise UserError(where, f"the plan has only {len(candidates)} candidates, no {row.candidate}.", do=MEND)
    return trial(plan, candidates, row.key), None if row.candidate == BASELINE else candidates[row.candidate]


def _read_trainings(
    folder: Path, plan: SearchPlan, place: Callable[[Row, str], Placed], do: str = MEND
) -> Trainings:  # fmt: skip
    """The rows of a folder and what they counted, held against the plan.

    Args:
        place: gives a row's trial, or raises UserError naming where the row is from.
        do: what mends the folder.
    """
    rows = read_rows(folder, plan.digest, parse_row)
    for row in rows:
        where = f"{folder / ROWS_FILE}: {row.file}"
        check_row(where, plan, *place(row, where), row, do)
    results = read_results(folder, rows, plan)
    for row in rows:
        check_counts(f"{folder / ROWS_FILE}: {row.file}", row, results, do)
    return Trainings(plan, plan.enumerate().candidates, rows, results)


def _verifications(folder: Path, trained: Trainings, answer: Answer) -> tuple[Verification, ...]:
    """What was verified, held against its trainings and the search's."""
    verifications = read_verifications(folder)
    for one in verifications:
        place = folder_of(folder, one.phi)
        at_phi = _read_trainings(place, trained.plan, partial(trial_at, trained, answer, one.phi), REPEAT)
        check_verification(f"{place / VERIFICATION_FILE}", trained, answer, at_phi, one)
    return verifications


def _read_answers(folder: Path) -> tuple[Answer, Recommendation] | None:
    """Both files of an answer: a search that runs meanwhile replaces one after the other, so it gets a moment."""
    path = folder / RECOMMENDATION_FILE
    for _ in range(TRIES):
        answer = read_answer(folder)
        if answer is None:
            if path.exists():  # it is written after the answer
                raise UserError(str(path), f"it is there without {ANSWER_FILE}.", do=MEND)
            return None
        if path.exists():
            chosen = read_recommendation(folder)
            measured = answer.best.measured if answer.best else None
            if (chosen.winner, chosen.complete, chosen.score) == (answer.recommended, answer.complete, measured):
                return answer, chosen
        time.sleep(PAUSE_SECONDS)
    assert answer is not None
    return answer, read_recommendation(folder)


def newest_run(root: Path = Path("runs")) -> Path | None:
    """The folder under ``root`` whose search finished a trial last, or None where nothing was searched."""
    paths = sorted(root.glob(f"*/{RECOMMENDATION_FILE}"), key=lambda path: path.stat().st_mtime)
    return paths[-1].parent if paths else None


def newest_begun(root: Path = Path("runs")) -> Path | None:
    """The folder under ``root`` whose search was called last, whether it has a result or not."""
    paths = sorted(root.glob(f"*/{RUN_FILE}"), key=lambda path: path.stat().st_mtime)
    return paths[-1].parent if paths else None


def answered(record: Record) -> tuple[Answer, Recommendation]:
    """The answer of a run. Raises UserError, with what went wrong in its trainings, where there is none."""
    if record.answer is None or record.recommendation is None:
        if done := sum(row.status == "done" for row in record.rows):
            where, found = str(record.folder / ANSWER_FILE), counted(done, "training")
            raise UserError(where, f"there is no such file, though {found} ended with a result.", do=MEND)
        reason = next((row.reason for row in record.rows if row.reason), "")
        do = "Lower --lr or --batch-size." if reason else 'Run "scalesearch grid" again to go on with the search.'
        raise UserError(str(record.folder), f"no candidate has a result ({reason or 'none was trained'}).", do=do)
    return record.answer, record.recommendation


def check_format(folder: Path, values: Mapping[str, Any]) -> None:
    """Raises UserError for a ``run.json`` that this version does not read."""
    version = values.get("format")
    if version == FORMAT:
        return
    if not isinstance(version, int):
        raise UserError(str(folder / RUN_FILE), f"the file does not name its format, so it is not {WHAT}.")
    versions = values.get("versions")
    by = f"scalesearch {versions.get('scalesearch', '?')}" if isinstance(versions, dict) else "another scalesearch"
    do = f"Read it with {by}, or search again in another --run folder."
    raise UserError(
        str(folder), f"the run has format {version}, written by {by}; this version reads format {FORMAT}.",
        do="Update scalesearch." if version > FORMAT else do,
    )  # fmt: skip


def _members(folder: Path, made: Provenance) -> tuple[MemberTraining, ...]:
    """The members trained in the run's folder, each held against its model and, on the search's data, its images."""
    members = []
    for path in sorted(folder.glob(f"models/*/{METRICS_FILE}")):
        what = "the metrics of a fine-tuned model"
        values = {**read_json(path, what), "folder": str(path.parent)}
        member = parse(MemberTraining, values, str(path), what, extra=True)
        if member.source_digest == made.source_digest and member.test.images != made.images.test:
            raise conflict(f"{path}: test.images", member.test.images, made.images.test, RUN_FILE, "")
        _check_model(path, member)
        members.append(member)
    return tuple(members)


def _check_model(path: Path, member: MemberTraining) -> None:
    """Raises UserError where the model beside a training's metrics is another network."""
    model = member.folder / MODEL_FILE
    if not model.exists():
        return
    try:
        with safe_open(model, framework="numpy") as file:
            spec = NetSpec.from_dict(json.loads(file.metadata()["spec"]))
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, UserError) as error:
        raise UserError(str(model), f"it is no model that finetune wrote ({error}).") from None
    for name, stated, follows in (("model", member.model, spec.name), ("macs", member.macs, cost(spec).macs)):
        if stated != follows:
            raise conflict(f"{path}: {name}", stated, follows, model.name, "")


def _check_plan(path: Path, plan: SearchPlan, provenance: Provenance, values: Mapping[str, Any]) -> None:
    """Whether what ``run.json`` says beside the plan follows from it."""
    if values.get("plan_digest") != plan.digest:  # before a plan that nobody made is enumerated
        raise conflict(f"{path}: plan_digest", values.get("plan_digest"), plan.digest, "the plan beside it", "")
    enumeration = plan.enumerate()
    checks = (
        ("candidates", values.get("candidates"), len(enumeration.candidates)),
        ("nominal", values.get("nominal"), enumeration.nominal),
        ("images.train", provenance.images.train, plan.proxy.images),
        ("images.validation", provenance.images.validation, plan.validation),
        ("classes", provenance.classes, plan.baseline.classes),
    )
    for name, stated, follows in checks:
        if stated != follows:
            raise conflict(f"{path}: {name}", stated, follows, "the plan beside it", "")


def read_results(folder: Path, rows: Sequence[Row], plan: SearchPlan) -> Results:
    """What each recorded training showed on the validation images.

    Raises UserError where a file of predictions is gone, damaged, or of other images than the plan's; continuing the
    search writes it again.
    """
    results, labels = Results(), None
    for row in rows:
        if row.status == "failed":
            results.add(row.key, None)
            continue
        path = predictions_file(folder, row)
        require_regular(path, "the predictions of a training")
        of, predictions, soft = unpacked(TrialResult(row, path.read_bytes()), str(path))
        labels = of if labels is None else labels
        if not np.array_equal(of, labels):
            raise UserError(f"{path}: labels", "they are not those of the other trainings.", do=MEND)
        if max(of.max(), predictions.max()) >= plan.baseline.classes:
            raise UserError(f"{path}: labels", f"some are not among {plan.baseline.classes} classes.", do=MEND)
        results.add(row.key, of == predictions, soft)
    if labels is not None:
        follows = float(np.bincount(labels).max() / len(labels))
        if not math.isclose(plan.majority, follows):
            raise conflict(
                f"{folder / RUN_FILE}: plan.majority", plan.majority, follows, "the labels beside the predictions", ""
            )
    return results
