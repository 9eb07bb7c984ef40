"""Run folders that are well-formed and contradict themselves: one value at a time is changed to another.

Of every JSON file each number, text, list and table, of the predictions a few, of the files that they are there. What
may come of it: the folder is refused, or what is read of it is what was read before, because nothing depends on the
value or because it is counted again; or the value is one that nothing else in the folder could contradict (``FREE``).
"""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scalesearch.design.cost import cost
from scalesearch.study.outcomes import packed, write_predictions, write_rows
from scalesearch.study.plan import Measurement
from scalesearch.study.plan import row as plan_row
from scalesearch.study.race import Results
from scalesearch.study.record import Record, answered, read_record
from scalesearch.study.row import TrialResult
from scalesearch.study.statistics import Ints
from scalesearch.study.verification import compare_sizes, folder_of, scaled, trials, write_verification

# file and place → why nothing in the folder could contradict it
FREE = {
    r"run\.json: (command|hardware|date|data_argument|storage|notes.*|versions.*|continued.*)":
        "who searched, when, where and with what; told as it stands, and no number depends on it",
    r"run\.json: class_names.*": "what classes are called is told by the images, which are elsewhere",
    r"run\.json: seconds": "wall time of the calls; trainings run side by side, so their seconds bound it nowhere",
    r"run\.json: images\.test": "how many test images there are is known from elsewhere only where a member is tested",
    r"run\.json: source_digest": "of the images, which are elsewhere; models of other images are named as such",
    r".*rows\.json: rows\[\d+\]\.(fvcore_total|train_loss|seconds|latency_ms|note|reason)( of a failed training)?":
        "measured once and kept nowhere else; times that the answer uses are held against it",
    r".*rows\.json: rows\[\d+\]\.(seed|epochs) of a failed training":
        "nothing is left of it but its row, and nothing follows from which of a network's trainings it was",
    r"winners\.json: (level|certainty\.tolerance)": "asked for on the command line; what follows from them is counted",
    r"coefficients\.json: total": "how long the race will be is asked for on the command line; only the end is known",
    r".*verify\.json: searched": "how far the search was then; it may have gone on since",
    r".*metrics\.json: (start|command|source_digest|history.*)": "told by the training alone; its images are elsewhere",
}  # fmt: skip
NUMBERS: tuple[Callable[[Any], Any], ...] = (
    lambda v: v + 1, lambda v: v - 1, lambda v: v * 2, lambda v: -v, lambda v: 0, lambda v: v + 0.05, lambda v: v * 1.2,
    lambda v: 7.5, lambda v: 7, lambda v: 10**12, lambda v: None, str, lambda v: [v],
)  # fmt: skip
TEXTS: tuple[Callable[[str], Any], ...] = (
    lambda v: f"{v}x", lambda v: "", lambda v: "c000", lambda v: "c001", lambda v: "c077", lambda v: "depth",
    lambda v: "baseline", lambda v: "done", lambda v: "outside", lambda v: 3, lambda v: None,
)  # fmt: skip
LISTS: tuple[Callable[[list[Any]], Any], ...] = (
    lambda v: v[:-1], lambda v: [*v[1:2], *v[:1], *v[2:]], lambda v: [*v, *v[:1]], lambda v: [], lambda v: v[::-1],
    lambda v: v * 2, lambda v: None,
)  # fmt: skip


@dataclass(frozen=True)
class Mutation:
    """One change of a run's folder; ``apply`` makes it there."""

    file: str
    place: str
    number: int
    apply: Callable[[Path], None]

    @property
    def name(self) -> str:
        """Such as ``rows.json: rows[2].score, 3``."""
        return f"{self.file}: {self.place}, {self.number}"

    @property
    def free(self) -> bool:
        """Whether nothing could contradict it."""
        return any(re.fullmatch(pattern, f"{self.file}: {self.place}") for pattern in FREE)


def mutations(run: Path) -> Iterator[Mutation]:
    """All of a folder's, in a fixed order."""
    for path in sorted(run.rglob("*.json")):
        file = str(path.relative_to(run))
        yield from _of_json(file, json.loads(path.read_text()))
        yield Mutation(file, "the file", 0, lambda folder, file=file: (folder / file).unlink())  # type: ignore[misc]
    for folder in sorted(run.rglob("predictions")):
        yield from _of_predictions(run, sorted(folder.iterdir()))


def _of_json(file: str, values: Any) -> Iterator[Mutation]:
    for steps, value in _places(values):
        place = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).lstrip(".")
        place += _of_failed(values, steps)
        for number, change in enumerate(_changes(value)):
            changed = change(value)
            if changed == value and type(changed) is type(value):
                continue

            def apply(folder: Path, steps: tuple[Any, ...] = steps, changed: Any = changed) -> None:
                whole = json.loads((folder / file).read_text())
                holder = whole
                for step in steps[:-1]:
                    holder = holder[step]
                holder[steps[-1]] = changed
                (folder / file).write_text(json.dumps(whole))

            yield Mutation(file, place, number, apply)


def _of_failed(values: Any, steps: tuple[Any, ...]) -> str:
    """What is added to the place of a row's field where nothing but the row is left of the training."""
    row = values["rows"][steps[1]] if steps[0] == "rows" and len(steps) == 3 else {}
    return " of a failed training" if row.get("status") == "failed" else ""


def _places(values: Any, steps: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Every value inside, with the way to it."""
    pairs = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    for step, value in pairs:
        yield (*steps, step), value
        yield from _places(value, (*steps, step))


def _changes(value: Any) -> tuple[Callable[[Any], Any], ...]:
    if isinstance(value, bool):
        return (lambda v: not v, lambda v: None, lambda v: 1)
    if isinstance(value, int | float):
        return NUMBERS
    if isinstance(value, str):
        return TEXTS
    if isinstance(value, list):
        return LISTS
    return (lambda v: None, lambda v: {}) if isinstance(value, dict) else (lambda v: 1, lambda v: "x")


def _of_predictions(run: Path, paths: list[Path]) -> Iterator[Mutation]:
    """Of one training's file: a label, a prediction or their number changed; exchanged with another's; gone."""

    def edited(edit: Callable[[Ints, Ints], tuple[Ints, Ints]], name: str) -> Callable[[Path], None]:
        def apply(folder: Path) -> None:
            with np.load(folder / name) as arrays:
                labels, predictions, soft = (arrays[key] for key in ("labels", "predictions", "soft"))
            labels, predictions = edit(labels.astype(np.int64), predictions.astype(np.int64))
            (folder / name).write_bytes(packed(labels, predictions, soft[: len(labels)].astype(np.float32)))

        return apply

    def exchanged(folder: Path, one: str, other: str) -> None:
        first, second = (folder / one).read_bytes(), (folder / other).read_bytes()
        (folder / one).write_bytes(second)
        (folder / other).write_bytes(first)

    edits: tuple[Callable[[Ints, Ints], tuple[Ints, Ints]], ...] = (
        lambda labels, told: (np.where(np.arange(len(labels)) == 3, (labels + 1) % 3, labels), told),
        lambda labels, told: (labels, labels),
        lambda labels, told: (labels[:-1], told[:-1]),
        lambda labels, told: ((labels + 1) % (1 + labels.max()), (told + 1) % (1 + labels.max())),
        lambda labels, told: (labels, np.where(labels == told, told, 60_000)),
        lambda labels, told: (labels[::-1], told[::-1]),
    )
    for place, path in enumerate(paths):
        name, other = str(path.relative_to(run)), str(paths[place - 1].relative_to(run))
        for number, edit in enumerate(edits):
            yield Mutation(name, "predictions", number, edited(edit, name))
        yield Mutation(name, "the file", 0, lambda folder, name=name: (folder / name).unlink())  # type: ignore[misc]
        yield Mutation(
            name, "the file", 1,
            lambda folder, name=name, other=other: exchanged(folder, name, other),  # type: ignore[misc]
        )  # fmt: skip


def shown(record: Record) -> dict[str, Any]:
    """All that commands can show of a run, as values to compare: they see nothing but its record."""
    results = {
        str(key): record.results.seeds(key[0], key[2]).get(key[1], np.zeros(0)).tolist() for key in record.results
    }
    parts = ("plan", "provenance", "answer", "recommendation", "verifications", "trainings", "elsewhere", "rows")
    return {"results": results, **{name: _plain(getattr(record, name)) for name in parts}}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return value if value is None or isinstance(value, str) else asdict(value)


def verified(run: Path) -> Path:
    """A verification of the run at φ = 2, with predictions that were thrown; its file."""
    record = read_record(run)
    plan, (answer, _) = record.plan, answered(record)
    judged = {one.name for one in answer.standings}
    known = [one for one in record.enumeration.candidates if one.name in judged]
    networks, folder = scaled(plan, answer, known, 2.0), folder_of(run, 2.0)
    wanted, rng, at_phi, rows = trials(plan, networks, 2, None), np.random.default_rng(0), Results(), []
    labels, candidates = known_labels(run), {one.candidate.index: one.candidate for one in networks}
    for one in wanted:
        right, soft = rng.random(plan.validation) < 0.5, np.full(plan.validation, 0.5, np.float32)
        measured = Measurement(cost(one.spec).macs, 1, int(right.sum()), plan.validation, 0.5, 1.0)
        rows.append(plan_row(plan, one, candidates[one.candidate], measured))
        predictions = np.where(right, labels, (labels + 1) % plan.baseline.classes)
        write_predictions(folder, TrialResult(rows[-1], packed(labels, predictions, soft)))
        at_phi.add(one.key, right, soft)
    write_rows(folder, rows, plan.digest)
    verification = compare_sizes(plan, answer.recommended, networks, 2.0, wanted, record.results, at_phi)
    write_verification(folder, verification)
    assert read_record(run).verifications == (verification,)
    return folder / "verify.json"


def known_labels(run: Path) -> Ints:
    """Of the run's validation images."""
    with np.load(next((run / "predictions").iterdir())) as arrays:
        return arrays["labels"].astype(np.int64)


def copied(run: Path, to: Path) -> Path:
    """A fresh copy, in place of what is there."""
    shutil.rmtree(to, ignore_errors=True)
    return Path(shutil.copytree(run, to, ignore=shutil.ignore_patterns("study.db")))
