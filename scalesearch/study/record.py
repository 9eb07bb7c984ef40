"""The record of a run: everything that its folder says, read once, typed, and held against itself.

``run.json`` (the plan and where it is from), ``rows.json`` and ``predictions/`` (copies of what the ledger holds, so
that reading a run needs no database), ``winners.json`` and ``coefficients.json`` (the answer),
``verify-phi*/verify.json``, ``models/*/metrics.json``. Every command that looks at a run looks at its ``Record``.
"""

import io
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scalesearch.design.candidates import Enumeration
from scalesearch.design.cost import EXPONENT, cost, score
from scalesearch.errors import UserError
from scalesearch.files import read_json, require_regular, unpack_arrays, write_bytes, write_json
from scalesearch.study.answer import (
    ANSWER_FILE,
    RECOMMENDATION_FILE,
    Answer,
    Comparison,
    Recommendation,
    Standing,
    read_answer,
    read_recommendation,
    verdict,
)
from scalesearch.study.plan import Measurement, SearchPlan, trial
from scalesearch.study.plan import row as plan_row
from scalesearch.study.race import Results
from scalesearch.study.row import BASELINE, TRAININGS, Key, Row, TrialResult, parse_rows
from scalesearch.study.statistics import Bools, Interval
from scalesearch.study.summary import NetworkSummary, rung_summaries, summarise
from scalesearch.study.verification import FILE as VERIFICATION_FILE
from scalesearch.study.verification import Verification, folder_of, read_verifications
from scalesearch.typed import parse

RUN_FILE, ROWS_FILE, METRICS_FILE = "run.json", "rows.json", "metrics.json"
FORMAT = 3  # of run.json
ROWS_FORMAT = 1
MEND, AGAIN = "Continue the search to mend it.", "Verify again to mend it."
WHAT = "a run of scalesearch"
TRIES, PAUSE_SECONDS = 4, 0.1  # for two files that are replaced one after the other


@dataclass(frozen=True)
class ImageCounts:
    """Images of each part."""

    train: int
    validation: int
    test: int


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


@dataclass(frozen=True, eq=False)
class Record:
    """A run as its folder holds it, finished or not.

    Args:
        enumeration: the plan's candidates.
        rows: by candidate, seed and epochs; ``results``: which validation images each training got right.
        answer, recommendation: None while no candidate has a result.
        verifications: by φ; ``trainings``: of the family's members.
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

    @property
    def leader(self) -> NetworkSummary | None:
        """The recommended candidate, or the first one where there is no answer yet; None while nothing has a result."""
        candidates = [one for one in self.summaries if not one.is_baseline]
        name = self.answer.recommended if self.answer else ""
        return next((one for one in candidates if one.row.name == name), candidates[0] if candidates else None)

    @property
    def complete(self) -> bool:
        """Whether the race has been run to its end."""
        return self.recommendation is not None and self.recommendation.complete

    @property
    def commands(self) -> tuple[str, ...]:
        """What was typed, each command once, in order."""
        typed = [self.provenance.command, *(call.command for call in self.provenance.continued)]
        return tuple(dict.fromkeys([*typed, *(training.command for training in self.trainings)]))


def read_record(folder: Path, counted: bool = True) -> Record:
    """The record of a run.

    Args:
        counted: whether predictions are read and counted, too; without them ``results`` is empty.

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
    answer, recommendation = _read_answers(folder)
    rows = read_rows(folder, plan.digest)
    results = read_results(folder, rows) if counted else Results()
    record = Record(
        folder, plan, provenance, rows, results, answer, recommendation, read_verifications(folder),
        _trainings(folder, provenance.source_digest),
    )  # fmt: skip
    _check(record)
    return record


def _read_answers(folder: Path) -> tuple[Answer | None, Recommendation | None]:
    """Both files of an answer: a search that runs meanwhile replaces one after the other, so it gets a moment."""
    for _ in range(TRIES):
        answer = read_answer(folder)
        if answer is None:
            return None, None
        if (folder / RECOMMENDATION_FILE).exists():
            chosen = read_recommendation(folder)
            scores = [standing.score for standing in answer.standings if standing.name == answer.recommended]
            if [chosen.winner, chosen.complete, chosen.score] == [answer.recommended, answer.complete, *scores]:
                break
        time.sleep(PAUSE_SECONDS)
    return answer, read_recommendation(folder)


def newest_run(root: Path = Path("runs")) -> Path | None:
    """The folder under ``root`` whose search finished a trial last, or None where nothing was searched."""
    paths = sorted(root.glob(f"*/{RECOMMENDATION_FILE}"), key=lambda path: path.stat().st_mtime)
    return paths[-1].parent if paths else None


def answered(record: Record) -> tuple[Answer, Recommendation]:
    """The answer of a run. Raises UserError, with what went wrong in its trainings, where there is none."""
    if record.answer is None or record.recommendation is None:
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


def _trainings(folder: Path, source_digest: str) -> tuple[MemberTraining, ...]:
    """The members trained in the run's folder, of those on the data of the search."""
    read = []
    for path in sorted(folder.glob(f"models/*/{METRICS_FILE}")):
        what = "the metrics of a fine-tuned model"
        values = {**read_json(path, what), "folder": str(path.parent)}
        training = parse(MemberTraining, values, str(path), what, extra=True)
        if training.source_digest == source_digest:
            read.append(training)
    return tuple(read)


def _check(record: Record) -> None:
    """Raises UserError where the files of a run do not go together."""
    for row in record.rows:
        _check_row(record, row)
    for verification in record.verifications:
        _check_verification(record, verification)
    if record.answer is not None and record.recommendation is not None:
        _check_answer(record, record.answer)
        _check_recommendation(record, record.answer, record.recommendation)


def _check_plan(path: Path, plan: SearchPlan, provenance: Provenance, values: Mapping[str, Any]) -> None:
    """Whether what ``run.json`` says beside the plan follows from it."""
    enumeration = plan.enumerate()
    checks = (
        ("plan_digest", values.get("plan_digest"), plan.digest),
        ("candidates", values.get("candidates"), len(enumeration.candidates)),
        ("nominal", values.get("nominal"), enumeration.nominal),
        ("images.validation", provenance.images.validation, plan.validation),
        ("classes", provenance.classes, plan.baseline.classes),
    )
    for name, stated, follows in checks:
        if stated != follows:
            raise _conflict(f"{path}: {name}", stated, follows, "the plan beside it", do="")


def _conflict(where: str, stated: object, follows: object, source: str, do: str = MEND) -> UserError:
    """What one file of a run says and another one contradicts."""
    return UserError(where, f"{str(stated)[:80]} is stated, but {str(follows)[:80]} follows from {source}.", do=do)


def _check_row(record: Record, row: Row) -> None:
    """Whether a row is of the plan's candidate, scored as it was measured, and counts what its predictions show."""
    plan, candidates = record.plan, record.enumeration.candidates
    where = f"{record.folder / ROWS_FILE}: {row.file}"
    if row.candidate >= len(candidates):
        raise UserError(where, f"the plan has only {len(candidates)} candidates, no {row.candidate}.", do=MEND)
    if row.key in record.results and row.status == "done":  # else nobody asked for the predictions
        right = record.results.seeds(row.candidate, row.epochs)[row.seed]
        for name, counted in (("correct", int(right.sum())), ("images", plan.validation)):
            if getattr(row, name) != counted:
                raise _conflict(f"{where}: {name}", getattr(row, name), counted, "its predictions")
    candidate = None if row.candidate == BASELINE else candidates[row.candidate]
    one = trial(plan, candidates, row.key)
    measurement = Measurement(
        cost(one.spec).macs, row.fvcore_total, row.correct, row.images, row.train_loss or 0.0, row.seconds,
        (row.reason or "unknown") if row.status == "failed" else "", row.note,
    )  # fmt: skip
    for name, follows in plan_row(plan, one, candidate, measurement).to_dict().items():
        stated = getattr(row, name)
        if not _same(stated, follows):
            raise _conflict(f"{where}: {name}", stated, follows, "the plan and its own counts")


def _check_answer(record: Record, answer: Answer) -> None:
    where = record.folder / ANSWER_FILE
    numbers = {candidate.name: candidate.index for candidate in record.enumeration.candidates}
    controls = {candidate.name: candidate.control for candidate in record.enumeration.candidates}
    for standing in answer.standings:
        if controls.get(standing.name, "?") != standing.control:
            kind = f"as a control of {standing.control}" if standing.control else "that is no control"
            raise UserError(f"{where}: standings", f"the plan has no candidate {standing.name} {kind}.", do=MEND)
        _check_standing(record, standing, numbers[standing.name])
    names = [standing.name for standing in answer.standings]
    if len(set(names)) < len(names):
        raise UserError(f"{where}: standings", "a candidate stands there twice.", do=MEND)
    if answer.recommended not in [standing.name for standing in answer.members]:
        raise UserError(f"{where}: recommended", f"{answer.recommended} is no member of the winner set.", do=MEND)
    for comparison in answer.comparisons:
        if controls.get(comparison.control) != comparison.dimension:
            raise UserError(
                f"{where}: comparisons", f"{comparison.control} does not scale {comparison.dimension} alone.", do=MEND
            )
        _check_comparison(record, comparison, numbers[answer.recommended], numbers[comparison.control])
    if not 0 < answer.level < 1:
        raise UserError(f"{where}: level", f"{answer.level:g} is not between 0 and 1.", do=MEND)


def _check_standing(record: Record, standing: Standing, number: int) -> None:
    """Whether a standing follows from the rows: its score is the mean over its first seeds.

    Rows that came since it was written are more, never others. Older versions counted seeds, too, that were trained
    already, but not yet by all in the rung, and so were not in the score.
    """
    where = f"{record.folder / ANSWER_FILE}: {standing.name}"
    rows = [r for r in record.rows if r.candidate == number and r.epochs == standing.epochs and r.status == "done"]
    if not 0 < standing.seeds <= len(rows):
        raise _conflict(where, f"{standing.seeds} trainings of {standing.epochs} epochs", len(rows), ROWS_FILE)
    if not standing.low <= standing.score + 1e-9 or not standing.score <= standing.high + 1e-9:
        reach = f"{standing.low:g} to {standing.high:g}"
        raise UserError(where, f"the score {standing.score:g} lies outside of its interval, {reach}.", do=MEND)
    scores = [row.score or 0.0 for row in sorted(rows, key=lambda row: row.seed)]
    means = [sum(scores[:seeds]) / seeds for seeds in range(standing.seeds, 0, -1)]
    if not any(math.isclose(standing.score, mean, rel_tol=1e-9) for mean in means):
        raise _conflict(where, f"the score {standing.score:g}", f"{means[0]:g}", ROWS_FILE)


def _check_comparison(record: Record, comparison: Comparison, best: int, control: int) -> None:
    """Whether what a comparison says goes together: its accuracies, the networks' FLOPs, the gap, and its verdict."""
    where, plan = f"{record.folder / ANSWER_FILE}: comparisons: {comparison.control}", record.plan
    macs = [record.enumeration.candidates[number].macs for number in (best, control)]
    accuracies = [comparison.accuracy, comparison.control_accuracy]
    scores = [score(accuracy, one, plan.target_macs) for accuracy, one in zip(accuracies, macs, strict=True)]
    least = 0.5 / (comparison.seeds * plan.validation)  # as ``answer.compare`` counts an accuracy of 0
    follows: dict[str, float] = {
        "gap": scores[0] - scores[1], "cost_ratio": macs[0] / macs[1],
        "cost_part": EXPONENT * math.log(macs[0] / macs[1]),
        "accuracy_part": math.log(max(accuracies[0], least) / max(accuracies[1], least)),
    }  # fmt: skip
    for name, value in follows.items():
        if not _close(getattr(comparison, name), value):
            raise _conflict(f"{where}: {name}", getattr(comparison, name), value, "its accuracies and the plan")
    gap = Interval(comparison.gap, comparison.low, comparison.high)
    if (right := verdict(accuracies[0] >= accuracies[1], gap, comparison.cost_ratio)) != comparison.verdict:
        raise _conflict(f"{where}: verdict", comparison.verdict, right, "its interval")
    for number, accuracy in zip((best, control), accuracies, strict=True):
        _check_mean(record.rows, number, comparison.epochs, comparison.seeds, accuracy, where, ROWS_FILE)


def _check_mean(
    rows: Sequence[Row], number: int, epochs: int, seeds: int, accuracy: float, where: str, source: str
) -> None:
    """Whether an accuracy is the mean of as many trainings; of more that came since, nobody knows which it was of."""
    top1 = [row.top1 or 0.0 for row in rows if (row.candidate, row.epochs, row.status) == (number, epochs, "done")]
    if not 0 < seeds <= len(top1):
        raise _conflict(where, f"{seeds} trainings of {epochs} epochs", len(top1), source)
    if seeds == len(top1) and not _close(accuracy, sum(top1) / seeds):
        raise _conflict(where, f"an accuracy of {accuracy:g}", f"{sum(top1) / seeds:g}", source)


def _same(stated: object, follows: object) -> bool:
    """Equal, numbers but for their last digits."""
    if isinstance(stated, int | float) and isinstance(follows, float):
        return _close(stated, follows)
    return stated == follows


def _close(first: float, second: float) -> bool:
    return math.isclose(first, second, rel_tol=1e-9, abs_tol=1e-12)


def _check_verification(record: Record, one: Verification) -> None:
    """Whether a verification is of this search, and its numbers go together and with the rows beside it.

    The search may have gone on since, so whom it recommends now, and with how many seeds, may differ.
    """
    folder, plan = folder_of(record.folder, one.phi), record.plan
    where, rows = folder / VERIFICATION_FILE, read_rows(folder, plan.digest)
    numbers = {candidate.name: candidate for candidate in record.enumeration.candidates}
    names = [network.name for network in one.networks]
    if unknown := [name for name in (*names, *one.failed, one.recommended) if name not in numbers]:
        raise UserError(f"{where}: networks", f"the plan has no candidate {unknown[0]}.", do=AGAIN)
    if len({*names, *one.failed}) < len(names) + len(one.failed):
        raise UserError(f"{where}: networks", "a network stands there twice.", do=AGAIN)
    stated: dict[str, tuple[object, object]] = {
        "images": (one.images, plan.validation), "classes": (one.classes, plan.baseline.classes),
        "full_epochs": (one.full_epochs, plan.train.epochs),
        "fully_trained": (one.fully_trained, min(one.epochs, one.epochs_at_one) >= one.full_epochs),
        "best": (one.best, max(one.networks, key=lambda network: network.at_phi.value).name),
    }  # fmt: skip
    for network in one.networks:
        candidate = numbers[network.name]
        ranks = [1 + sum(getattr(other, at).value > getattr(network, at).value for other in one.networks)
                 for at in ("at_one", "at_phi")]  # fmt: skip
        stated |= {
            f"{network.name}: control": (network.control, candidate.control),
            f"{network.name}: ranks": ([network.rank_at_one, network.rank_at_phi], ranks),
            f"{network.name}: ratio": (network.ratio, network.macs / cost(plan.baseline).macs),
            f"{network.name}: at_phi": (
                network.at_phi.value, score(network.accuracy, network.macs, plan.target_macs),
            ),
        }  # fmt: skip
        at_one = network.at_one.value / score(1.0, candidate.macs, plan.target_macs)
        who = f"{where}: {network.name}"
        _check_mean(record.rows, candidate.index, one.epochs_at_one, network.seeds_at_one, at_one, who, ROWS_FILE)
        if rows:
            _check_mean(rows, candidate.index, one.epochs, network.seeds_at_phi, network.accuracy, who, ROWS_FILE)
    if one.regret is not None and one.recommended in names:
        scores = [one.networks[place].at_phi.value for place in (one.regret.against, names.index(one.recommended))]
        gap = scores[0] - scores[1]
        stated |= {"regret.gap": (one.regret.gap, gap), "regret.value": (one.regret.value, max(0.0, gap))}
    for name, (value, follows) in stated.items():
        if not _same(value, follows):
            raise _conflict(f"{where}: {name}", value, follows, "the search and the numbers beside it", do=AGAIN)


def _check_recommendation(record: Record, answer: Answer, recommendation: Recommendation) -> None:
    where, plan = record.folder / RECOMMENDATION_FILE, record.plan
    winner = next((c for c in record.enumeration.candidates if c.name == recommendation.winner), None)
    if winner is None:
        raise UserError(f"{where}: winner", f"the plan has no candidate {recommendation.winner}.", do=MEND)
    factors, theirs = winner.coefficients, recommendation.coefficients
    follows = {
        "rounding": plan.rounding, "space": plan.space, "data": plan.data, "target_macs": plan.target_macs,
        "winner": answer.recommended, "baseline": plan.baseline, "complete": answer.complete,
    }  # fmt: skip
    for name, value in follows.items():
        if getattr(recommendation, name) != value:
            raise _conflict(f"{where}: {name}", getattr(recommendation, name), value, f"the plan and {ANSWER_FILE}")
    if (theirs.alpha, theirs.beta, theirs.gamma) != (factors.alpha, factors.beta, factors.gamma):
        raise _conflict(f"{where}: coefficients", theirs, factors, winner.name)
    if not math.isclose(recommendation.score, answer.best.score, rel_tol=1e-9):
        raise _conflict(f"{where}: score", f"{recommendation.score:g}", f"{answer.best.score:g}", ANSWER_FILE)
    if recommendation.done > len(record.rows):
        raise UserError(f"{where}: done", f"{recommendation.done} trainings, but {len(record.rows)} rows.", do=MEND)


def write_rows(folder: Path, rows: Sequence[Row], digest: str) -> None:
    """The rows of a search or a verification; ``digest``: of the plan that they are of."""
    values = {"format": ROWS_FORMAT, "plan_digest": digest, "rows": [row.to_dict() for row in rows]}
    write_json(folder / ROWS_FILE, values)


def read_rows(folder: Path, digest: str) -> tuple[Row, ...]:
    """Reads them back; none where nothing was recorded. Raises UserError for a damaged or foreign file."""
    path = folder / ROWS_FILE
    if not path.exists():
        return ()
    values = read_json(path, TRAININGS)
    lines, version = values.get("rows"), values.get("format")
    if not isinstance(version, int) or not isinstance(lines, list):
        raise UserError(str(path), f"the file is damaged: it does not hold {TRAININGS}.", do=MEND)
    if version != ROWS_FORMAT:
        do = "Read it with the version of scalesearch that wrote it."
        raise UserError(str(path), f"the file has format {version}; this version reads {ROWS_FORMAT}.", do=do)
    if values.get("plan_digest") != digest:
        raise UserError(str(path), "the trainings are of another search.", do="Delete its folder.")
    return parse_rows(lines, str(path))


def packed(labels: NDArray[np.int64], predictions: NDArray[np.int64]) -> bytes:
    """Label and prediction of each validation image as an ``.npz``, so that anybody can recompute and compare."""
    content = io.BytesIO()
    np.savez_compressed(content, labels=labels.astype(np.uint16), predictions=predictions.astype(np.uint16))
    return content.getvalue()


def hits(result: TrialResult, where: str = "the ledger") -> Bools | None:
    """Which validation images a training got right; None for a failed one.

    Raises UserError, naming ``where`` they are from, for predictions that cannot be read.
    """
    if result.row.status == "failed":
        return None
    arrays = unpack_arrays(result.predictions, ("labels", "predictions"), where, "the predictions of a training")
    labels, predictions = arrays["labels"], arrays["predictions"]
    if not labels.shape == predictions.shape == (result.row.images,):
        shapes = f"predictions have the shape {predictions.shape} and labels {labels.shape}"
        raise UserError(where, f"{shapes} instead of ({result.row.images},), one for each image.")
    return np.asarray(labels == predictions)


def write_predictions(folder: Path, result: TrialResult) -> None:
    """The file of a training's predictions, if it is not there as it should be."""
    path = _predictions_file(folder, result.row)
    if result.predictions and not (path.is_file() and path.read_bytes() == result.predictions):
        write_bytes(path, result.predictions)


def read_results(folder: Path, rows: Sequence[Row]) -> Results:
    """Which validation images each recorded training got right.

    Raises UserError where a file of predictions is gone or damaged; continuing the search writes it again.
    """
    right: dict[Key, Bools | None] = {}
    for row in rows:
        path, content = _predictions_file(folder, row), b""
        if row.status == "done":
            require_regular(path, "the predictions of a training")
            content = path.read_bytes()
        right[row.key] = hits(TrialResult(row, content), str(path))
    return Results(right)


def _predictions_file(folder: Path, row: Row) -> Path:
    return folder / "predictions" / f"{row.file}.npz"
