"""What a report consists of, once for the page and for markdown: facts, notes, sections of text, figures and tables."""

from collections.abc import Iterator, Mapping, Sequence

from scalesearch.design.cost import part_table
from scalesearch.design.family import Member
from scalesearch.reports import family_words, goal_words, tables, words
from scalesearch.reports.figures.drawings import Drawing, families_name
from scalesearch.reports.published import best_published
from scalesearch.reports.section import Section
from scalesearch.reports.words import Rates
from scalesearch.study.calibration import advice
from scalesearch.study.confusion import Confusion
from scalesearch.study.family_answer import compare
from scalesearch.study.family_record import FamilyRecord
from scalesearch.study.record import Record
from scalesearch.units import counted

LISTED_CLASSES = 30


def key_facts(record: Record, rates: Rates) -> list[tuple[str, str]]:
    """What somebody wants to know first beside the answer, as (what, value)."""
    lines = []
    if record.leader is not None:
        head = {"recommended": "Network recommended", "by default": "Network by default"}
        lines.append(
            (head.get(words.mark_label(record), "Ahead so far"), words.network(record.leader, record.plan.measure))
        )
        lines.append(("Its accuracy", words.accuracy(record.leader)))
    for one in record.summaries:
        if one.is_baseline:
            lines += [("At φ = 0", words.network(one, record.plan.measure)), ("Its accuracy", words.accuracy(one))]
            if record.leader is not None and (told := words.doubling(record, record.leader, one)):
                lines.append(("From φ = 0 to it", told))
    return [*lines, *((what.capitalize(), value) for what, value in words.spent(record, rates))]


def notes(record: Record) -> list[str]:
    """What must be known before the numbers are believed."""
    return [words.source(record), words.target(record)]


def sections(
    record: Record, members: Sequence[Member], figures: Sequence[Drawing], rates: Rates, most: int | None = None
) -> Iterator[Section]:
    """In the order in which a report tells its story.

    Args:
        members: of the family, none while the search is unfinished.
        figures: of ``drawings``.
        most: candidates to list besides members of the set; None lists all.
    """
    drawn = {figure.name: figure for figure in figures}
    yield from _answer(record, drawn)
    yield from _goals(record, drawn)
    shown = (("grid", "The grid", "score_grid"), ("curves", "Learning curves", "learning_curves", "member_curves"))
    for key, heading, *names in shown:
        if plates := _of(drawn, *names):
            yield Section(key, heading, figures=plates)
    if plates := _of(drawn, "samples"):
        side = record.leader.row.proxy_resolution if record.leader else 0
        text = f"Squares of {side} px, every pixel to be seen."
        yield Section("images", "What the networks look at", text, plates)
    if record.confusion is not None:
        yield _classes(record, record.confusion, drawn)
        if (found := record.confusion.calibration) is not None:
            heading = "Can its probabilities be believed?"
            yield Section("calibration", heading, advice(found), _of(drawn, "calibration"))
    if record.verifications:
        transfers = tuple(figure for figure in figures if figure.name.startswith("transfer_phi"))
        said = "\n\n".join(map(words.verification_text, record.verifications))
        compared = tuple(map(tables.verification, record.verifications))
        yield Section("transfer", "Does φ = 1 transfer?", said, transfers, folded=compared)
    for number, families in enumerate(record.families):
        yield _trained(number, families, drawn)
    yield _family(record, members, drawn)
    if record.summaries:
        listed = tables.candidates(record, most, members=True)
        heading = "All candidates" if most is None else "Best candidates"
        text = words.accuracy_source(record) + (" A heading sorts the table." if most is None else "")
        yield Section("candidates", heading, text, tables=(listed,))
    if record.answer is not None:
        one = words.candidate(record, record.answer.recommended)
        name = f"{words.mark_label(record).capitalize()}: {one.name}"
        yield Section("network", "The network", tables=(part_table(one.spec, name),))
    text = f"{words.COUNTING}\n\n{words.bullets(words.costs(record))}"
    yield Section("cost", "What the candidates cost", text)
    dropped, failures = record.enumeration.dropped, tables.failures(record.rows)
    reasons = (tables.dropped(dropped),) if dropped else ()
    yield Section("dropped", "Triples dropped", words.grid(record), tables=reasons)
    if failures.rows:
        yield Section("failed", "Failed trials", tables=(failures,))
    if following := words.following(record):
        yield Section("next", "Next", following)
    yield Section("provenance", "Provenance", tables=(tables.provenance(record, rates),))


def _of(drawn: Mapping[str, Drawing], *names: str) -> tuple[Drawing, ...]:
    """Those figures that were drawn."""
    return tuple(drawn[name] for name in names if name in drawn)


def _answer(record: Record, drawn: Mapping[str, Drawing]) -> Iterator[Section]:
    if record.summaries:
        text = (
            "Candidates cost about twice the baseline; FLOPs are multiply-adds of convolution and linear operators as "
            "fvcore counts them, of the networks as trained. Accuracies after as many epochs, in one panel, compare."
        )
        yield Section("accuracy", "Accuracy against FLOPs", text, _of(drawn, "accuracy_flops"))
    answer = record.answer
    if answer is None:
        return
    text, listed = words.METHOD, (tables.standings(record),) if answer.standings else ()
    if answer.undecided:
        text = "Nothing is decided, so no score after full training is told."
    yield Section("winners", "Which is the best", text, _of(drawn, "credible_set"), listed)
    if answer.comparisons:
        text = (
            "Differences of the scores expected after full training; they allow for the recommended one having been "
            "chosen for its score. The lead is split exactly into what accuracy brought and what it cost."
        )
        shown = (tables.comparisons(answer),)
        heading = "Against the paper's coefficients and one dimension alone"
        yield Section("controls", heading, text, _of(drawn, "controls"), shown)


def _goals(record: Record, drawn: Mapping[str, Drawing]) -> Iterator[Section]:
    """The same accuracies under other costs."""
    told = goal_words.goals_of(record)
    if told:
        text = goal_words.other_costs(record, told)
        yield Section("goals", "Under other costs", text, _of(drawn, "goals"), folded=(tables.goals(record, told),))


def _classes(record: Record, confused: Confusion, drawn: Mapping[str, Drawing]) -> Section:
    """What the candidate in front confuses."""
    whose = record.leader.row.name if record.leader else ""
    text = f"Of {whose} as trained in the search, on its {counted(len(confused.labels), 'validation image')}" + (
        f", {confused.seeds} trainings together." if confused.seeds > 1 else "."
    )
    return Section("classes", "What it confuses", text, _of(drawn, "confusion", "mistakes"),
                   (tables.classes(confused, LISTED_CLASSES),))  # fmt: skip


def _trained(number: int, families: FamilyRecord, drawn: Mapping[str, Drawing]) -> Section:
    """What training the family beside others came to; the rest stands in a report of its own."""
    answer, name = compare(families), families_name(number)
    said = "\n\n".join((family_words.verdict(families, answer), *family_words.state(families)))
    more = words.plain(str(families.folder.relative_to(families.folder.parents[1]) / "families.html"))
    text = f"{said}\n\nLeads, learning rates and prices stand in {more} in the search's folder."
    return Section(name, family_words.title(families), text, _of(drawn, name))


def _family(record: Record, members: Sequence[Member], drawn: Mapping[str, Drawing]) -> Section:
    published = (tables.published(best_published()),)
    if not members:
        text = "The family follows from the coefficients, once the search is finished."
        return Section("family", "The family", text, folded=published)
    tested = len(tables.tested_members(members, record.trainings))
    text = (
        f"{tested} of {len(members)} members are tested, on the test images of {words.plain(record.plan.data)}. "
        "Published accuracies are ImageNet's, yours are on your own test images: they have axes of their own and "
        "cannot be compared."
    )
    if record.elsewhere:
        named = words.plain(", ".join(record.elsewhere))
        text += f" Models that were trained on other images are not shown: {named}."
    found = "found" if words.decided(record) else "that stand by default; no search found them"
    table = tables.family(members, record.trainings, f"Members by the coefficients {found}")
    return Section("family", "The family", text, _of(drawn, "family"), (table,), published)
