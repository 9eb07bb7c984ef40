"""The report command: a run's folder read, its facts put together, the report written."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scalesearch.cli.design import JsonOption
from scalesearch.errors import UserError

if TYPE_CHECKING:
    from scalesearch.reports.facts import RunFacts
    from scalesearch.search.plan import SearchPlan


def report(
    run: Annotated[Path | None, typer.Argument(help="Folder of a search; the newest under runs/ if left out.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the report; RUN/report if left out.")] = None,
    json: JsonOption = False,
) -> None:
    """Write tables, figures and report.md of a search; works while it runs, too.

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
    from scalesearch.search.study import open_study, rows

    folder = run or newest_run()
    if folder is None or not (folder / RUN_FILE).is_file():
        raise UserError("report", f"no {RUN_FILE} in {folder or 'runs/*'}", "a search's folder", "Run a search first.")
    values = read_json(folder / RUN_FILE, "a run of scalesearch")
    try:
        plan = SearchPlan.from_dict(values["plan"])
    except (KeyError, TypeError) as error:
        raise UserError(str(folder / RUN_FILE), f"a damaged file ({error})", "a run of scalesearch") from None
    lines = rows(open_study(folder))
    results = pd.DataFrame(lines, columns=[*NETWORK_COLUMNS, *SEED_COLUMNS])
    members = _members(folder)
    written = write_report(out or folder / "report", results, _facts(folder, values, plan, _commands(folder)), members)
    if json:
        print_json({"files": [str(path) for path in written]})
        return
    for path in written:
        say(str(path))


def _facts(folder: Path, values: dict[str, Any], plan: "SearchPlan", trained: list[str]) -> "RunFacts":
    """What the report states besides results."""
    from scalesearch.reports.facts import DataFacts, RunFacts, SpaceFacts, TrainingFacts
    from scalesearch.search.found import FILE, read_found

    found = plan.enumerate()
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
        seeds=plan.seeds,
        coefficients=answer.coefficients if answer and answer.complete else None,
        versions=tuple(values["versions"].items()),
        hardware=values["hardware"],
        date=values["date"],
        seconds=values.get("seconds", 0.0),
    )  # fmt: skip


def _commands(folder: Path) -> list[str]:
    """The command lines that trained the run's members."""
    from scalesearch.files import read_json
    from scalesearch.training.finetune import METRICS_FILE

    paths = sorted(folder.glob(f"models/*/{METRICS_FILE}"))
    return [str(read_json(path, "the metrics of a fine-tuned model")["command"]) for path in paths]


def _members(folder: Path) -> list[dict[str, Any]]:
    """The family of the run's coefficients, with the test results of the members trained in its folder."""
    from scalesearch.files import read_json
    from scalesearch.search.family import family, member_row
    from scalesearch.search.found import FILE, read_found
    from scalesearch.training.finetune import METRICS_FILE

    if not (folder / FILE).exists():
        return []
    found = read_found(folder)
    if not found.complete:
        return []
    tests = {}
    for path in sorted(folder.glob(f"models/*/{METRICS_FILE}")):
        values = read_json(path, "the metrics of a fine-tuned model")
        source = "from scratch" if values["start"] == "scratch" else "fine-tuned"
        test = values["test"]
        tests[values["model"], values["macs"]] = {
            "top1": test["top1"], "correct": test["correct"], "images": test["images"], "source": source,
            "path": str(path.parent),
        }  # fmt: skip
    rows = [member_row(item) for item in family(found.baseline, found.coefficients, found.rounding)]
    return [{**row, **tests.get((row["name"], row["macs"]), {})} for row in rows]
