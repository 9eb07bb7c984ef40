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
from scalesearch.design.cost import EXPONENT, cost
from scalesearch.design.scaling import Step
from scalesearch.design.spec import shape_of
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
from scalesearch.study.posterior import Floats32
from scalesearch.study.race import Results
from scalesearch.study.row import BASELINE, TRAININGS, Row, TrialResult, parse_rows
from scalesearch.study.statistics import Bools, Interval
from scalesearch.study.summary import NetworkSummary, rung_summaries, summarise
from scalesearch.study.verification import FILE as VERIFICATION_FILE
from scalesearch.study.verification import Verification, folder_of, read_verifications
from scalesearch.typed import parse

RUN_FILE, ROWS_FILE, METRICS_FILE = "run.json", "rows.json", "metrics.json"
FORMAT = 5  # of run.json
ROWS_FORMAT = 2
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
        """The recommended candidate, None where it was not trained; or the first one where there is no answer yet."""
        candidates = [one for one in self.summaries if not one.is_baseline]
        if self.answer is not None:
            candidates = [one for one in candidates if one.row.name == self.answer.recommended]
        return candidates[0] if candidates else None

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
            measured = answer.best.measured if answer.best else None
            if (chosen.winner, chosen.complete, chosen.score) == (answer.recommended, answer.complete, measured):
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
        (row.reason or "unknown") if row.status == "failed" else "", row.note, row.latency_ms,
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
        _check_standing(record, answer, standing, numbers[standing.name])
    names = [standing.name for standing in answer.standings]
    if len(set(names)) < len(names):
        raise UserError(f"{where}: standings", "a candidate stands there twice.", do=MEND)
    if answer.recommended not in (names if answer.certainty else numbers):  # a default may not have been trained yet
        raise UserError(f"{where}: recommended", f"{answer.recommended} has no result.", do=MEND)
    _check_certainty(record, answer)
    controls["baseline"], numbers["baseline"] = "baseline", BASELINE
    for comparison in answer.comparisons:
        if controls.get(comparison.control) != comparison.dimension:
            raise UserError(
                f"{where}: comparisons", f"{comparison.control} does not scale {comparison.dimension} alone.", do=MEND
            )
        _check_comparison(record, comparison, numbers[answer.recommended], numbers[comparison.control])
    if not 0 < answer.level < 1:
        raise UserError(f"{where}: level", f"{answer.level:g} is not between 0 and 1.", do=MEND)


def _check_standing(record: Record, answer: Answer, standing: Standing, number: int) -> None:
    """Whether a standing follows from the rows, and its parts from one another.

    Rows that came since it was written are more, never others.
    """
    where = f"{record.folder / ANSWER_FILE}: {standing.name}"
    if standing.score and not standing.score.low - 1e-9 <= standing.score.value <= standing.score.high + 1e-9:
        reach = f"{standing.score.low:g} to {standing.score.high:g}"
        raise UserError(where, f"the score {standing.score.value:g} lies outside of its interval, {reach}.", do=MEND)
    if (standing.status == "unknown") != (answer.certainty is None) or not 0 <= standing.best <= 1:
        problem = f'"{standing.status}" with a probability of {standing.best:g} to be the best does not go together.'
        raise UserError(where, problem, do=MEND)
    factor = record.plan.score(1.0, record.enumeration.candidates[number].proxy_ratio)
    accuracy = standing.measured / factor
    _check_mean(record.rows, number, standing.epochs, standing.seeds, accuracy, where, ROWS_FILE)


def _check_comparison(record: Record, comparison: Comparison, best: int, control: int) -> None:
    """Whether what a comparison says goes together: the networks' FLOPs, the gap, and its verdict."""
    where = f"{record.folder / ANSWER_FILE}: comparisons: {comparison.control}"
    candidates = record.enumeration.candidates
    ratio = candidates[best].proxy_ratio / (1.0 if control == BASELINE else candidates[control].proxy_ratio)
    for name, value in {"cost_ratio": ratio, "cost_part": EXPONENT * math.log(ratio)}.items():
        if not _close(getattr(comparison, name), value):
            raise _conflict(f"{where}: {name}", getattr(comparison, name), value, "the plan")
    gap = Interval(comparison.gap, comparison.low, comparison.high)
    if not gap.low <= gap.value <= gap.high:
        raise _conflict(f"{where}: gap", gap.value, f"{gap.low:g} to {gap.high:g}", "its interval")
    right = verdict(comparison.accuracy_part >= 0, gap, comparison.cost_ratio)
    if right != comparison.verdict:
        raise _conflict(f"{where}: verdict", comparison.verdict, right, "its interval")
    if (comparison.accuracy_part + comparison.cost_part > 0) != (comparison.gap > 0):
        raise _conflict(f"{where}: gap", comparison.gap, comparison.accuracy_part + comparison.cost_part, "its parts")


def _check_certainty(record: Record, answer: Answer) -> None:
    """Whether what is said of the recommendation goes together with the standings."""
    certainty, where = answer.certainty, f"{record.folder / ANSWER_FILE}: certainty"
    if (certainty is None) != bool(answer.undecided) or (answer.rule == "default") != bool(answer.undecided):
        raise UserError(where, "there is a decision and a reason why there is none.", do=MEND)
    if certainty is None:
        return
    full = record.plan.train.epochs
    scores = {one.name: one.score.value for one in answer.standings if one.score and one.epochs == full}
    known = {one.name for one in answer.standings}
    if set(certainty.equivalents) - known or certainty.best not in certainty.equivalents:
        raise UserError(f"{where}: equivalents", f"{certainty.best} and its equivalents are not all known.", do=MEND)
    if answer.recommended not in certainty.equivalents:
        raise _conflict(f"{where}: equivalents", answer.recommended, certainty.equivalents, ANSWER_FILE)
    if (answer.rule == "score") != (answer.recommended == certainty.best):
        raise _conflict(f"{where}: rule", answer.rule, certainty.best, ANSWER_FILE)
    highest = max(scores, key=lambda name: scores[name])
    if not _close(scores[highest], scores.get(certainty.best, math.nan)):
        raise _conflict(f"{where}: best", certainty.best, highest, "the standings")
    if min(certainty.loss, certainty.bound, certainty.best_loss) < 0 or not _close(
        sum(one.best for one in answer.standings), 1.0
    ):
        raise UserError(where, "losses are negative, or probabilities do not add up to 1.", do=MEND)


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
        "images": (one.images, plan.validation), "majority": (one.majority, plan.majority),
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
            f"{network.name}: at_phi": (network.at_phi.value, plan.score(network.accuracy, network.proxy_ratio)),
        }  # fmt: skip
        at_one = network.at_one.value / plan.score(1.0, candidate.proxy_ratio)
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
    pairs = zip((theirs.alpha, theirs.beta, theirs.gamma), (factors.alpha, factors.beta, factors.gamma), strict=True)
    step = Step(shape_of(plan.baseline), shape_of(winner.spec))
    if not all(_close(stated, follows) for stated, follows in pairs) or theirs.searched != step:
        raise _conflict(f"{where}: coefficients", theirs, factors, winner.name)
    measured = answer.best.measured if answer.best else None
    if not _same(recommendation.score, measured):
        raise _conflict(f"{where}: score", recommendation.score, measured, ANSWER_FILE)
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


def packed(labels: NDArray[np.int64], predictions: NDArray[np.int64], soft: Floats32) -> bytes:
    """Label, prediction and soft score of each validation image as an ``.npz``, so that anybody can recompute."""
    content = io.BytesIO()
    np.savez_compressed(
        content, labels=labels.astype(np.uint16), predictions=predictions.astype(np.uint16),
        soft=soft.astype(np.float16),
    )  # fmt: skip
    return content.getvalue()


def hits(result: TrialResult, where: str = "the ledger") -> tuple[Bools, Floats32] | None:
    """Which validation images a training got right, and their soft scores; None for a failed one.

    Raises UserError, naming ``where`` they are from, for predictions that cannot be read.
    """
    if result.row.status == "failed":
        return None
    what = "the predictions of a training"
    arrays = unpack_arrays(result.predictions, ("labels", "predictions", "soft"), where, what)
    labels, predictions, soft = arrays["labels"], arrays["predictions"], arrays["soft"]
    if not labels.shape == predictions.shape == soft.shape == (result.row.images,):
        shapes = f"predictions have the shape {predictions.shape}, labels {labels.shape} and soft scores {soft.shape}"
        raise UserError(where, f"{shapes} instead of ({result.row.images},), one for each image.")
    if soft.dtype.kind != "f" or not ((soft >= 0) & (soft <= 1)).all():
        raise UserError(where, "soft scores should be numbers from 0 to 1.", do=MEND)
    return np.asarray(labels == predictions), soft.astype(np.float32)


def write_predictions(folder: Path, result: TrialResult) -> None:
    """The file of a training's predictions, if it is not there as it should be."""
    path = _predictions_file(folder, result.row)
    if result.predictions and not (path.is_file() and path.read_bytes() == result.predictions):
        write_bytes(path, result.predictions)


def read_results(folder: Path, rows: Sequence[Row]) -> Results:
    """What each recorded training showed on the validation images.

    Raises UserError where a file of predictions is gone or damaged; continuing the search writes it again.
    """
    results = Results()
    for row in rows:
        path, content = _predictions_file(folder, row), b""
        if row.status == "done":
            require_regular(path, "the predictions of a training")
            content = path.read_bytes()
        results.add(row.key, *(hits(TrialResult(row, content), str(path)) or (None,)))
    return results


def _predictions_file(folder: Path, row: Row) -> Path:
    return folder / "predictions" / f"{row.file}.npz"
