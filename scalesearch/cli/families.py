"""``family --train``: families trained side by side."""

from dataclasses import asdict
from typing import TYPE_CHECKING

from scalesearch.api.design import check_family, scaling_of
from scalesearch.api.options import FamilyOptions
from scalesearch.cli.commands import Terminal
from scalesearch.cli.search import say_estimate, trainings
from scalesearch.cli.shell import explain, introduce_images, print_json, say, show
from scalesearch.units import counted

if TYPE_CHECKING:
    from scalesearch.api.families import FamilyJob
    from scalesearch.api.search import Forecast


def train_families(asked: FamilyOptions, terminal: Terminal) -> None:
    """Plans, says what it takes, trains, and shows what came out."""
    from scalesearch.api import families
    from scalesearch.reports import families as told

    check_family(asked)
    job = families.prepare(asked, scaling_of(asked))
    if not terminal.json:
        _introduce(job)
    expected = families.forecast(job)
    if not terminal.json:
        say_estimate(job, expected, _trainings(job, expected))
    if terminal.dry_run:
        print_json(job.plan.to_dict()) if terminal.json else show(told.lineup(job.plan))
        return
    total = len(expected.before) + sum(map(len, expected.rungs))
    with trainings(job, expected, total, terminal) as listener:
        trained = families.run(job, listener, expected)
    record = trained.record
    if terminal.json:
        answer = trained.answer
        rows = [row.to_dict() for row in record.rows]
        print_json({"folder": str(job.folder), "answer": answer and asdict(answer), "rows": rows})
        return
    for table in told.terminal_tables(record):
        show(table)
    for line in told.lines(record):
        say(line)
    if record.left:
        say(f"Not finished: {counted(len(record.left), 'training')} left; the same command continues.")
    say(f"Page: {job.folder / 'families.html'}; figure: {job.folder / 'families.png'}")


def _introduce(job: "FamilyJob") -> None:
    """What will be trained, on what, from what."""
    plan = job.plan
    introduce_images(job.parts, plan.contenders[0].spec.resolution, larger="a larger member")
    explain(plan.origin)
    named = ", ".join(one.name for one in plan.contenders)
    shared = sum(len(one.places) - 1 for one in plan.contenders)
    several = f" ({counted(shared, 'place')} on curves shared)" if shared else ""
    explain(f"{counted(len(plan.contenders), 'network')}, each trained once a seed: {named}{several}")
    for text in job.assumed:
        explain(f"Weights: {text}")
    rates = ", ".join(f"{rate:g}" for rate in plan.rates)
    explain(
        f"Learning rates {rates}: each curve's smallest network tries them, judged on {plan.validation} validation "
        f"images. The figure's trainings are judged on {plan.test} test images, each network of them once a seed."
        if len(plan.rates) > 1 else f"Learning rate {rates} for all; judged on {plan.test} test images."
    )  # fmt: skip


def _trainings(job: "FamilyJob", expected: "Forecast") -> str:
    pending = [one for rung in expected.rungs for one, _ in rung]
    choosing = sum(one.number == 0 for one in pending)
    parts = [f"{choosing} to choose learning rates"] if choosing else []
    return " and ".join([*parts, f"{len(pending) - choosing} for the figure"]) if pending else ""
