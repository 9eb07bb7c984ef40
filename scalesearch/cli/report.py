"""The report command: a run's folder read, its facts put together, the report written."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scalesearch.cli.design import JsonOption
from scalesearch.errors import UserError

if TYPE_CHECKING:
    from scalesearch.reports.facts import RunFacts, WinnerFacts
    from scalesearch.search.answer import Answer
    from scalesearch.search.plan import SearchPlan


def report(
    run: Annotated[Path | None, typer.Argument(help="Folder of a search; the newest under runs/ if left out.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the report; RUN/report if left out.")] = None,
    json: JsonOption = False,
) -> None:
    """Write tables, figures and report.md of a search.

    Works while the search runs, too.

    Example: scalesearch report runs/mbconv_small-glyphs-own
    """
    import pandas as pd

    from scalesearch.cli.progress import say
    from scalesearch.cli.show import print_json
    from scalesearch.files import read_json
    from scalesearch.reports.report import write_report
    from scalesearch.reports.statistics import NETWORK_COLUMNS, SEED_COLUMNS
    from scalesearch.search.folder import RUN_FILE, newest_run
    from scalesearch.search.plan import SearchPlan
    from scalesearch.search.run import PLAN_FORMAT
    from scalesearch.search.study import open_study, rows

    folder = run or newest_run()
    if folder is None or not (folder / RUN_FILE).is_file():
        raise UserError("report", f"no {RUN_FILE} in {folder or 'runs/*'}", "a search's folder", "Run a search first.")
    values = read_json(folder / RUN_FILE, "a run of scalesearch")
    if values.get("format") != PLAN_FORMAT:
        raise UserError(
            str(folder), "a search of another version of scalesearch", f"format {PLAN_FORMAT}", "Search again."
        )
    trainings = _trainings(folder, values)
    try:
        facts = _facts(folder, values, SearchPlan.from_dict(values["plan"]), [item["command"] for item in trainings])
        members = _members(folder, trainings)
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(
            str(folder), f"a damaged {RUN_FILE} or metrics.json ({error!r})", "the folder of a search"
        ) from None
    results = pd.DataFrame(rows(open_study(folder)), columns=[*NETWORK_COLUMNS, *SEED_COLUMNS])
    written = write_report(out or folder / "report", results, facts, members)
    if json:
        print_json({"files": [str(path) for path in written]})
        return
    for path in written[:-1]:
        say(str(path))
    say(f"Read {written[-1]}")


def _facts(folder: Path, values: dict[str, Any], plan: "SearchPlan", trained: list[str]) -> "RunFacts":
    """What the report states besides results."""
    from scalesearch.reports.facts import DataFacts, RunFacts, SpaceFacts, TrainingFacts
    from scalesearch.search.answer import read_answer
    from scalesearch.search.found import FILE, read_found

    found = plan.enumerate()
    ended = read_answer(folder)
    answer = read_found(folder) if (folder / FILE).exists() else None
    images = values["images"]
    proxy = plan.proxy
    return RunFacts(
        name=folder.name,
        command="\n".join([values["command"], *trained]),
        data=DataFacts(
            plan.data, values["classes"], images["train"], images["validation"], images["test"], plan.data_digest
        ),
        space=SpaceFacts(
            plan.space, plan.baseline.digest, plan.target_macs, plan.grid.step, plan.grid.tolerance, plan.rounding,
            found.nominal, len(found.candidates), found.dropped,
        ),
        training=TrainingFacts(proxy.resolution_divisor > 1, proxy.resolution_divisor, proxy.epochs, images["train"]),
        winners=_winners(ended) if ended else None,
        coefficients=answer.coefficients if answer and answer.complete else None,
        versions=tuple(values["versions"].items()),
        hardware=values["hardware"],
        date=values["date"],
        seconds=values.get("seconds", 0.0),
    )  # fmt: skip


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
    from scalesearch.training.finetune import METRICS_FILE

    found = []
    for path in sorted(folder.glob(f"models/*/{METRICS_FILE}")):
        metrics = read_json(path, "the metrics of a fine-tuned model")
        if metrics.get("source_digest") == values.get("source_digest"):
            found.append({**metrics, "path": str(path.parent)})
    return found


def _members(folder: Path, trainings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The family of the run's coefficients, with the test results of its trained members."""
    from scalesearch.search.family import family, member_row
    from scalesearch.search.found import FILE, read_found

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
