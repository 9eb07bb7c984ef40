"""What a search and a fine-tuning write into logs (``reports.tracking``): made of what they record by themselves."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from scalesearch.data.arrays import Images
from scalesearch.reports.tracking import LoggedRun, Pixels, Tracking, Value
from scalesearch.running.provenance import provenance
from scalesearch.study.outcomes import losses, unpacked
from scalesearch.study.row import Row, TrialResult
from scalesearch.study.statistics import Ints
from scalesearch.training.distributed import ranks
from scalesearch.training.history import EpochRecord, History, Watcher

if TYPE_CHECKING:
    from scalesearch.api.finetune import FinetuneJob
    from scalesearch.api.result import SearchResult
    from scalesearch.api.search import SearchJob
    from scalesearch.training.evaluation import Evaluation

SEARCH = "search"  # the run of a search as a whole
MISTAKES = "mistakes"
COLUMNS = ("role", "control", "depth_ratio", "width_ratio", "resolution_ratio", "seed", "macs", "params",
           "proxy_resolution")  # fmt: skip


class SearchLog:
    """A search's trainings, each written whole whenever one of its results comes in: its loss by epochs, accuracy and
    score where it paused or ended."""

    def __init__(self, job: "SearchJob", note: Callable[[str], None]) -> None:
        self._job, self._tracking = job, Tracking(job.logs, job.folder, note)
        self._results: dict[tuple[int, int], dict[int, TrialResult[Row]]] = {}
        plan = job.plan
        facts = {"space": plan.space, "data": plan.data, "train": plan.train.to_dict()}
        self._facts = flat(facts | provenance(plan.device)) if job.logs else {}

    def heard(self, results: Sequence[TrialResult[Row]]) -> None:
        """Writes the trainings that these results are of."""
        if not self._tracking:
            return
        for one in results:
            self._results.setdefault(one.row.key[:2], {})[one.row.epochs] = one
        for key in sorted({one.row.key[:2] for one in results}):
            self._write([result for _, result in sorted(self._results[key].items())])

    def _write(self, results: Sequence[TrialResult[Row]]) -> None:
        rows = [one.row for one in results]
        last, curve = rows[-1], losses(results[-1])
        parameters = {"candidate": last.name, **{name: getattr(last, name) for name in COLUMNS}}
        log = self._tracking.begin(LoggedRun(f"{last.name}-seed{last.seed}", parameters, self._facts))
        points: dict[int, dict[str, float]] = {epoch: {"loss/train": loss} for epoch, loss in enumerate(curve, start=1)}
        for row in rows:
            points.setdefault(row.epochs, {}).update(_measured(row))
        for epoch, values in sorted(points.items()):
            log.scalars(epoch, values)
        log.end(None if last.status == "failed" else _numbers(last, "top1", "score", "train_loss", "latency_ms"))

    def end(self, result: "SearchResult") -> None:
        """What the search came to so far, and images that the recommended network got wrong."""
        if not self._tracking:
            return
        chosen, c = result.recommendation, result.coefficients
        log = self._tracking.begin(LoggedRun(SEARCH, {}, self._facts | {"recommended": chosen.winner}))
        log.scalars(chosen.done, {"answer/alpha": c.alpha, "answer/beta": c.beta, "answer/gamma": c.gamma})
        seen = [one for by_epochs in self._results.values() for one in by_epochs.values()
                if one.row.name == chosen.winner and one.row.status == "done"]  # fmt: skip
        if seen:
            best = max(seen, key=lambda one: (one.row.epochs, -one.row.seed))
            labels, predictions, _ = unpacked(best)
            images = self._job.parts.validation.at(best.row.proxy_resolution)
            log.image(MISTAKES, partial(mistakes, images, labels, predictions, self._job.parts.classes))
        measured = {"top1": chosen.top1, "score": chosen.score}
        answer = {"alpha": c.alpha, "beta": c.beta, "gamma": c.gamma, "trainings": chosen.done}
        answer |= {name: value for name, value in measured.items() if value is not None}
        log.end(answer)


def _measured(row: Row) -> dict[str, float]:
    points = {"accuracy/validation": row.top1, "score": row.score, "loss/train": row.train_loss}
    return {name: value for name, value in points.items() if value is not None}


def _numbers(row: Row, *names: str) -> dict[str, float]:
    return {name: float(value) for name in names if (value := getattr(row, name)) is not None}


@contextmanager
def followed(
    job: "FinetuneJob", watcher: Watcher, origin: Mapping[str, Any]
) -> Iterator[tuple[Watcher, Callable[[Mapping[str, Any]], None]]]:
    """The watcher that also writes a fine-tuning's logs, and what is to be told its metrics at the end.

    The first process alone writes. A training that is left early is marked so.
    """
    if not (job.logs and ranks().first):
        yield watcher, lambda metrics: None
        return
    recipe = flat(job.recipe.to_dict() | {"config": None} | job.recipe.config.to_dict())
    parameters = {"model": job.spec.name, "resolution": job.spec.resolution, **recipe}
    facts = flat({"data": job.parts.source.name, **origin})
    tracking = Tracking(job.logs, job.folder, watcher.tell)
    log = tracking.begin(LoggedRun(job.folder.resolve().name, parameters, facts))

    def write(record: EpochRecord) -> None:
        points = {"loss/train": record.train_loss, "learning_rate": record.lr}
        judged = {"top1": "accuracy/validation", "loss": "loss/validation"}
        points |= {judged[name]: value for name, value in record.metrics.items() if name in judged}
        log.scalars(record.epoch + 1, points)

    def past(history: History) -> None:
        for record in history:
            write(record)
        watcher.past(history)

    def epoch(record: EpochRecord) -> None:
        write(record)
        watcher.epoch(record)

    def judged(result: "Evaluation") -> None:
        images = job.parts.test.at(job.spec.resolution)
        log.image(MISTAKES, partial(mistakes, images, result.labels, result.predictions, job.parts.classes))
        watcher.judged(result)

    def end(metrics: Mapping[str, Any]) -> None:
        log.end({f"test_{name}": float(metrics["test"][name]) for name in ("top1", "top5", "loss")})

    try:
        yield replace(watcher, past=past, epoch=epoch, judged=judged), end
    except BaseException:
        log.end(None)
        raise


def mistakes(images: Images, labels: Ints, predictions: Ints, classes: Sequence[str]) -> Pixels:
    """Some images that were taken for another class, as one picture (H, W, 3)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from scalesearch.reports.figures.mistakes import mistakes_figure, wrong

    places = wrong(labels, predictions)
    truths, guesses = ([classes[numbers[place]] for place in places] for numbers in (labels, predictions))
    pixels = [images.one(place) for place in places]
    canvas: Any = FigureCanvasAgg(
        mistakes_figure(pixels, truths, guesses, int((labels != predictions).sum()), len(labels))
    )  # fmt: skip
    canvas.draw()
    return np.array(canvas.buffer_rgba())[..., :3]


def flat(values: Mapping[str, Any], before: str = "") -> dict[str, Value]:
    """Nested values under names such as "augment.flip"; what is no number, truth value or text is left out.

    >>> flat({"a": {"b": 1}, "c": None, "d": "x"})
    {'a.b': 1, 'd': 'x'}
    """
    plain: dict[str, Value] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            plain |= flat(value, f"{before}{name}.")
        elif isinstance(value, bool | int | float | str):
            plain[f"{before}{name}"] = value
    return plain
