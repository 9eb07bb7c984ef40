"""A run's folder read for the reports: its results, facts and family as values."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scalesearch.errors import UserError
from scalesearch.typed import mistyped

if TYPE_CHECKING:
    import pandas as pd

    from scalesearch.reports.facts import Curve, Rates, RunFacts, WinnerFacts
    from scalesearch.study.answer import Answer
    from scalesearch.study.plan import SearchPlan


@dataclass(frozen=True, eq=False)
class Reported:
    """A run as the reports take it: a row a training, what else is known, members b0…b6 (empty while unfinished)."""

    folder: Path
    results: "pd.DataFrame"
    facts: "RunFacts"
    family: list[dict[str, Any]]


def read_run(folder: Path, rates: "Rates") -> Reported:
    """Reads a run's folder, finished or not. Raises UserError where it is none, damaged, or of another version."""
    import pandas as pd

    from scalesearch.files import read_json
    from scalesearch.reports.statistics import NETWORK_COLUMNS, SEED_COLUMNS
    from scalesearch.running.folder import RUN_FILE
    from scalesearch.running.search import check_format
    from scalesearch.study.kept import read_rows
    from scalesearch.study.plan import SearchPlan

    if not (folder / RUN_FILE).is_file():
        raise UserError("report", f"no {RUN_FILE} in {folder}", "a search's folder", "Run a search first.")
    values = read_json(folder / RUN_FILE, "a run of scalesearch")
    check_format(folder, values)
    trainings = _trainings(folder, values)
    try:
        plan = SearchPlan.from_dict(values["plan"])
        facts = _facts(folder, values, plan, trainings, rates)
        members = _members(folder, trainings)
        if odd := mistyped(facts):
            raise TypeError(odd)
    except (KeyError, TypeError, AttributeError, ValueError, IndexError, ArithmeticError) as error:
        raise UserError(
            str(folder), f"a damaged {RUN_FILE} or metrics.json ({error!r})", "the folder of a search"
        ) from None
    recorded = read_rows(folder, plan.digest)
    return Reported(folder, pd.DataFrame(recorded, columns=[*NETWORK_COLUMNS, *SEED_COLUMNS]), facts, members)


def _facts(
    folder: Path, values: dict[str, Any], plan: "SearchPlan", trainings: list[dict[str, Any]], rates: "Rates"
) -> "RunFacts":
    """What the report states besides results."""
    from dataclasses import replace

    from scalesearch.api.verified import transfer
    from scalesearch.reports.facts import DataFacts, RunFacts, SpaceFacts, TrainingFacts
    from scalesearch.running.verify import read_verifications
    from scalesearch.study.answer import FILE as ANSWER
    from scalesearch.study.answer import read_answer
    from scalesearch.study.found import FILE, read_found

    found = plan.enumerate()
    ended = read_answer(folder)
    if ended and (odd := mistyped(ended)):
        raise UserError(str(folder / ANSWER), f"a damaged file ({odd})", "the answer of a search")
    answer = read_found(folder) if (folder / FILE).exists() else None
    images = values["images"]
    proxy = plan.proxy
    continued = [item["command"] for item in values.get("continued", [])]
    ahead = int(ended.recommended.removeprefix("c")) if ended else None
    return RunFacts(
        name=folder.resolve().name,
        command="\n".join(dict.fromkeys([values["command"], *continued, *(item["command"] for item in trainings)])),
        data=DataFacts(
            plan.data, values["classes"], images["train"], images["validation"], images["test"], plan.data_digest
        ),
        space=SpaceFacts(
            plan.space, plan.baseline.digest, plan.target_macs, plan.grid.step, plan.grid.tolerance, plan.rounding,
            found.nominal, len(found.candidates), found.dropped,
        ),
        training=TrainingFacts(
            proxy.resolution_divisor > 1, proxy.resolution_divisor, proxy.epochs, images["train"],
            _settings(plan),
        ),
        winners=_winners(ended) if ended else None,
        coefficients=answer.coefficients if answer and answer.complete else None,
        versions=tuple(values["versions"].items()),
        hardware=values["hardware"],
        date=values["date"],
        seconds=values.get("seconds", 0.0),
        network=None if ahead is None or ended is None else replace(
            found.candidates[ahead].spec, name=ended.recommended
        ),
        rates=rates,
        transfers=tuple(map(transfer, read_verifications(folder))),
        curves=tuple(curve for curve in map(_curve, trainings) if curve.epochs),
    )  # fmt: skip


def _curve(metrics: dict[str, Any]) -> "Curve":
    """A member's learning curve, from the history of its training."""
    from scalesearch.reports.facts import Curve

    records = [record for record in metrics.get("history", []) if "top1" in record["metrics"]]
    start = "" if metrics["start"] == "scratch" else ", fine-tuned"
    return Curve(
        f"{metrics['model']}{start}",
        tuple(record["epoch"] + 1 for record in records),
        tuple(record["metrics"]["top1"] for record in records),
    )


def _settings(plan: "SearchPlan") -> str:
    """The settings of a training in words."""
    train, weights = plan.train, plan.weights
    start = f"from {weights.name} (digest {weights.digest})" if weights else "from scratch"
    return (
        f"{start}; {train.optimizer}, batch size {train.batch_size}, peak learning rate {train.lr:g}, weight decay "
        f"{train.weight_decay:g}, warm-up {train.warmup_epochs:g} epochs, label smoothing {train.label_smoothing:g}, "
        f"averaged weights {train.ema_decay:g}, {train.precision}"
    )


def _winners(answer: "Answer") -> "WinnerFacts":
    """The answer as the reports take it."""
    from dataclasses import asdict

    from scalesearch.reports.facts import WinnerFacts

    return WinnerFacts(
        level=answer.level,
        standings=tuple(asdict(item) for item in answer.standings),
        recommended=answer.recommended,
        rule=answer.rule,
        comparisons=tuple(asdict(item) for item in answer.comparisons),
        seed_sd=answer.seed_sd,
        rungs=answer.rungs,
    )


def _trainings(folder: Path, values: dict[str, Any]) -> list[dict[str, Any]]:
    """The metrics of the members trained in the run's folder, on the data of the search."""
    from scalesearch.files import read_json
    from scalesearch.training.job import METRICS_FILE

    found = []
    for path in sorted(folder.glob(f"models/*/{METRICS_FILE}")):
        metrics = read_json(path, "the metrics of a fine-tuned model")
        if metrics.get("source_digest") == values.get("source_digest"):
            found.append({**metrics, "path": str(path.parent)})
    return found


def _members(folder: Path, trainings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The family of the run's coefficients, with the test results of its trained members."""
    from scalesearch.design.family import family, member_row
    from scalesearch.study.found import FILE, read_found

    if not (folder / FILE).exists():
        return []
    found = read_found(folder)
    if not found.complete:
        return []
    tests = {(item["model"], item["macs"]): _tested(item) for item in trainings}
    rows = [member_row(item) for item in family(found.baseline, found.coefficients, found.rounding)]
    return [{**row, **tests.get((row["name"], row["macs"]), {})} for row in rows]


def _tested(metrics: dict[str, Any]) -> dict[str, Any]:
    test = metrics["test"]
    source = "from scratch" if metrics["start"] == "scratch" else "fine-tuned"
    return {
        "top1": test["top1"], "correct": test["correct"], "images": test["images"], "source": source,
        "path": metrics["path"],
    }  # fmt: skip
