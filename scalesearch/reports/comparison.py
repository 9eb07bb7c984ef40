"""Several searches side by side: what was asked of each, what came out, and whether their numbers can be compared.

Written as a folder: comparison.md, comparison.html and, where all saw the same images, a figure.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

from scalesearch.files import write_files
from scalesearch.reports import words
from scalesearch.reports.artefacts import KINDS
from scalesearch.reports.edition import USUAL, Edition
from scalesearch.reports.figures.accuracy import runs_figure
from scalesearch.reports.figures.canvas import FILE
from scalesearch.reports.figures.drawings import Drawing
from scalesearch.reports.figures.formats import rendered
from scalesearch.reports.page import rendered_page
from scalesearch.reports.render import section_markdown
from scalesearch.reports.section import Section
from scalesearch.reports.words import NO_RATES, Rates
from scalesearch.study.record import Record
from scalesearch.table import Table, table

Runs = Mapping[str, Record]  # under names of their own


def write_comparison(
    folder: Path, records: Sequence[Record], edition: Edition = USUAL
) -> tuple[Path, ...]:  # fmt: skip
    """Writes the comparison of at least two searches; returns the files written, comparison.html last."""
    runs = named(records)
    drawing = _drawing(runs)
    artefacts: dict[str, bytes] = {}
    if drawing:
        drawn = drawing.draw(FILE)
        artefacts = {f"{drawing.name}.{kind}": rendered(drawn, kind) for kind in KINDS}
    title, told = edition.title or f"Searches compared: {', '.join(runs)}", verdict(runs)
    commands = [(name, "\n".join(record.commands)) for name, record in runs.items()]
    parts = [
        Section(
            "overview", "Side by side", figures=(drawing,) if drawing else (), tables=(overview(runs, edition.rates),)
        ),
        Section("sets", "Sets that hold the best", tables=(overlaps(runs),)),
        Section("elsewhere", "Recommended ones elsewhere", tables=(abroad(runs),)),
    ]
    typed = [f"{words.plain(name)}:\n\n```\n{command}\n```" for name, command in commands]
    lines = [f"# {words.plain(title)}", told, *map(section_markdown, parts), "## Reproduce", *typed]
    page = rendered_page(
        "comparison.html", reload_seconds=edition.reload_seconds, title=title, verdict=told, sections=parts,
        commands=commands,
    )  # fmt: skip
    artefacts |= {"comparison.md": ("\n\n".join(lines) + "\n").encode(), "comparison.html": page.encode()}
    return write_files(folder, artefacts)


def asked(record: Record) -> dict[str, str]:
    """What decides a search's numbers."""
    plan = record.plan
    return {
        "data": f"{plan.data}, digest {plan.data_digest}",
        "validation images": f"{plan.validation}",
        "search space": f"{plan.space}, baseline {plan.baseline.digest}",
        "equal among candidates": plan.measure.noun,
        "T": plan.measure.show(plan.target_macs),
        "grid": f"step {plan.grid.step:g}, |αβ²γ² − 2| ≤ {plan.grid.tolerance:g}, rounding {plan.rounding}",
        "trained": plan.proxy.describe(plan.baseline),
        "settings": words.settings(plan),
        "seed": f"{plan.train.seed}",
    }


def named(records: Sequence[Record]) -> Runs:
    """The runs, those of one name told apart by their number."""
    names = [words.run_name(record) for record in records]
    own = [f"{name} ({number})" if names.count(name) > 1 else name for number, name in enumerate(names, start=1)]
    return dict(zip(own, records, strict=True))


def verdict(runs: Runs) -> str:
    """Whether accuracies can be compared, and if not, why."""
    epochs = [record.leader.row.epochs for record in runs.values() if record.leader]
    lengths = ""
    if len(set(epochs)) > 1:
        listed = ", ".join(map(str, epochs))
        lengths = f" The candidates in front were trained for {listed} epochs: their accuracies do not compare, either."
    return f"{_verdict(runs)}{lengths}"


def _verdict(runs: Runs) -> str:
    searches = [asked(record) for record in runs.values()]
    differing = [what for what in searches[0] if len({search[what] for search in searches}) > 1]
    if not same_images(runs):
        return (
            "**Different images (their digests differ): accuracies and scores cannot be compared between these "
            "searches.** "
            "Coefficients can, as far as one data set can tell of another."
        )
    if differing == ["seed"]:
        return (
            "**The same search, repeated with another seed.** Initial weights and the order of images differ, and "
            "by them what is recommended may differ, too; the rest comes from how far each was run."
        )
    if differing:
        return (
            f"**Same images, but not the same search (differing: {', '.join(differing)}).** A difference in accuracy "
            "may come from that as well as from the coefficients."
        )
    return (
        "**The same search, as far as its settings go.** What differs comes from how far each was run, from the "
        "machine, or from the version."
    )


def same_images(runs: Runs) -> bool:
    """Whether all were judged on the same validation images."""
    return len({(record.plan.data_digest, record.plan.validation) for record in runs.values()}) == 1


def overview(runs: Runs, rates: Rates = NO_RATES) -> Table:
    """A column a run: what was asked, what came out, what it took."""
    rows: list[tuple[str, ...]] = []
    for tell in (asked, _outcome, lambda record: dict(words.spent(record, rates))):
        told = [tell(record) for record in runs.values()]
        rows += [(what, *(one.get(what, "") for one in told)) for what in told[0]]
    return table("What was asked, what came out, what it took", ("what", *runs), rows, prose=True)


def overlaps(runs: Runs) -> Table:
    """For each pair of runs: how far their sets agree, among the candidates that both have results of."""
    rows = []
    for (one, first), (other, second) in combinations(runs.items(), 2):
        mine, theirs = _identities(first, second), _identities(second, first)
        ours = {mine[summary.row.name] for summary in first.summaries if summary.member}
        others = {theirs[summary.row.name] for summary in second.summaries if summary.member}
        common = set(mine.values()) & set(theirs.values())
        rows.append(
            (f"{one} and {other}", len(common), len(ours & others & common), len((ours - others) & common),
             len((others - ours) & common), "same network" if _same_baseline(first, second) else "same triple α/β/γ")
        )  # fmt: skip
    columns = (
        "runs", "candidates of both", "in both sets", "in the first's only", "in the second's only", "matched by",
    )  # fmt: skip
    return table("How far the sets agree, among candidates that both searches have results of", columns, rows)


def abroad(runs: Runs) -> Table:
    """How each run's recommended candidate, or the one ahead, stands in the other runs."""
    rows = []
    for one, record in runs.items():
        for other, elsewhere in runs.items():
            if record.leader is not None and other != one:
                row = record.leader.row
                identity, theirs = _identities(record, elsewhere)[row.name], _identities(elsewhere, record)
                twin = next((name for name, its in theirs.items() if its == identity), "")
                rows.append((f"{row.name} of {one}", words.row_multipliers(row), other, _standing(elsewhere, twin)))
    caption = "Each search's candidate in the others"
    return table(caption, ("candidate", "as trained", "in", "it is"), rows, prose=True)


def _outcome(record: Record) -> dict[str, str]:
    """What came out; the same keys for every run."""
    answer, leader = record.answer, record.leader
    baseline = next((one for one in record.summaries if one.is_baseline), None)
    return {
        "candidates with a result": words.progress(record) + ("" if record.complete else "; not finished"),
        "answer": " ".join(map(words.bare, words.answer(record)[:2])),
        "network": words.network(leader, record.plan.measure) if leader else "",
        "accuracy": words.accuracy(leader) if leader else "",
        "baseline's accuracy": words.accuracy(baseline) if baseline else "",
        "set": words.credible_set(answer) if answer else "",
        "compared": " ".join(words.compared(record, answer)) if answer and not answer.undecided else "",
    }


def _same_baseline(one: Record, other: Record) -> bool:
    return one.plan.baseline.digest == other.plan.baseline.digest


def _identities(record: Record, other: Record) -> dict[str, str]:
    """What a candidate is recognised by in the other run: its network, or its first triple where baselines differ."""
    by_network = _same_baseline(record, other)
    rows = [one.row for one in record.summaries if not one.is_baseline]
    return {row.name: row.digest if by_network else row.triples.partition(";")[0] for row in rows}


def _standing(record: Record, name: str) -> str:
    """How a candidate stands in a run; an empty name: it is none there."""
    if not name:
        return "not a candidate, or without a result"
    standings = record.answer.standings if record.answer else ()
    status = [words.STATUS[standing.status] for standing in standings if standing.name == name]
    if record.answer and record.answer.recommended == name:
        status = [words.mark_label(record)]
    return f"{name}, {status[0] if status else 'not judged yet'}"


def _drawing(runs: Runs) -> Drawing | None:
    """The figure, where accuracies share an axis by right and there are any."""
    if not same_images(runs) or not any(record.summaries for record in runs.values()):
        return None
    caption = "Accuracy of what each search recommends and of its baseline, with 95 % intervals"
    said = "; ".join(f"{name}: {_accuracies(record)}" for name, record in runs.items())
    return Drawing("accuracies", caption, said, lambda look: runs_figure(runs, look))


def _accuracies(record: Record) -> str:
    shown = [record.leader, *(one for one in record.summaries if one.is_baseline)]
    return " against ".join(words.accuracy(one) for one in shown if one)
