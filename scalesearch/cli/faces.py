"""The commands on faces: each calls one function of ``scalesearch.api.faces`` and prints what comes back."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from scalesearch.api.options import (
    GALLERY,
    EnrollOptions,
    FaceEvaluateOptions,
    FaceVerifyOptions,
    FitOptions,
    IdentifyOptions,
    MembersOptions,
    RemoveOptions,
    StrangersOptions,
)
from scalesearch.cli.commands import Terminal, command
from scalesearch.cli.grouped import Command, Group
from scalesearch.cli.shell import Bar, EpochProgress, print_json, reading_bar, say, show, show_rows
from scalesearch.errors import pasted
from scalesearch.faces import FACE
from scalesearch.table import table
from scalesearch.training.history import EpochRecord, Watcher
from scalesearch.units import counted, let_in_words, show_interval, show_percent

if TYPE_CHECKING:
    from scalesearch.api.face_outputs import HandedOut
    from scalesearch.api.faces import FaceVerification
    from scalesearch.faces.gallery import Gallery, Threshold

SHOWN = 20
SHORT_LIST = 6  # of folders named in a command that is printed


def fit(asked: FitOptions, terminal: Terminal) -> None:
    """Train an embedding on a folder of people, and keep it where it is better than the body it started from.

    enroll works without: the face body recognises people whom it never saw. Run it again to continue where it was
    interrupted.

    Example: scalesearch faces fit --data people/ --strangers others/
    """
    from scalesearch.api import faces as api

    with reading_bar(terminal.json) as bar:
        result = api.fit(**vars(replace(asked, watcher=_watcher(bar))))
    metrics = result.metrics
    if terminal.json:
        print_json({**metrics, "file": str(result.file)})
        return
    if before := metrics["before"]:
        after = metrics["after"]
        say(
            f"On {metrics['held_out_people']} people it was not trained on: nearest photo is of the same person "
            f"{show_percent(before['top1'])} → {show_percent(after['top1'])}; AUC over all pairs "
            f"{1 - before['loss']:.3f} → {1 - after['loss']:.3f}"
        )
    for line in _judgement(metrics["judgement"]):
        say(line)
    why = {"better": "", "trained": " (--keep trained)", "frozen": " (--keep frozen)"}[asked.keep]
    kept = "the trained one" if metrics["kept"] == "trained" else "the body as it was before the training"
    say(f"Kept{why}: {kept}, {result.file}; both: frozen.safetensors, trained.safetensors")
    say(f"Next: {pasted('scalesearch', 'faces', 'enroll', 'PEOPLE', '--body', result.file)}")


def _judgement(judgement: dict[str, Any] | None) -> list[str]:
    """Frozen against trained, in sentences."""
    if judgement is None:
        return ["Not judged: it takes people with four photos, a quarter of which are held out"]
    gain = judgement["gain"]
    shares = [
        f"{name} {show_percent(one['value'])} ({show_interval(one['low'], one['high'])})"
        for name, one in (("frozen", gain["first"]), ("trained", gain["second"]))
    ]
    if judgement["strangers"]:
        what = (
            f"Recognised, where {show_percent(judgement['fpir'], 0)} of "
            f"{counted(judgement['stranger_photos'], 'photo')} of {counted(judgement['strangers'], 'stranger')} get in"
        )
    else:
        what = "The right member is nearest (no strangers to judge by: give --strangers)"
    gap = gain["difference"]
    if not judgement["enough"]:
        verdict = "not decided: it takes 6 members, and 10 strangers where there are any"
    else:
        verdict = "better" if judgement["better"] else "worse" if gap["high"] < 0 else "not shown to be better"
        verdict = f"the trained one is {verdict}"
    return [
        f"{what}, on {counted(judgement['photos'], 'photo')} of {judgement['people']} members that were not trained "
        f"on: {', '.join(shares)}",
        f"Trained less frozen: {100 * gap['value']:+.1f} points (95 % interval {100 * gap['low']:+.1f} to "
        f"{100 * gap['high']:+.1f}): {verdict}",
    ]


def _watcher(bar: Bar) -> Watcher:
    """Who shows a training in a bar."""
    from scalesearch.api import faces as api

    progress: list[EpochProgress] = []

    def schedule(epochs: int, steps: int) -> None:
        bar.total(epochs * steps)
        progress.append(EpochProgress(bar, epochs, steps))

    def step(epoch: int, index: int) -> None:
        progress[0].step(epoch, index)

    def epoch(record: EpochRecord) -> None:
        bar.line(api.epoch_line(record, progress[0].epochs))

    return Watcher(bar.reading, schedule, step, epoch, bar.note)


def enroll(asked: EnrollOptions, terminal: Terminal) -> None:
    """Add people to the gallery, and fit the threshold below which somebody is a member.

    Who is already in is replaced. Without --strangers, the threshold rests on how near members come to one another.

    Example: scalesearch faces enroll people/ --strangers others/ --fpir 0.01
    """
    from scalesearch.api import faces as api

    with reading_bar(terminal.json) as bar:
        result = api.enroll(**vars(replace(asked, reading=bar.reading)))
    gallery = result.gallery
    if terminal.json:
        print_json({
            "gallery": str(result.file), "people": len(gallery.names), "photos": len(gallery),
            "added": list(result.people), "threshold": _values(gallery), "notes": list(result.notes),
        })  # fmt: skip
        return
    for note in result.notes:
        say(f"Note: {note}")
    enrolled = f"; enrolled {len(result.people)}" if result.people else ""
    say(f"{result.file}: {len(gallery.names)} people, {counted(len(gallery), 'photo')}{enrolled}")
    if gallery.threshold:
        _say_threshold(gallery.threshold)
        files = _named("body", asked.body, FACE) + _named("gallery", asked.gallery, GALLERY)
        say(f"Next: {pasted('scalesearch', 'faces', 'identify', 'PHOTOS', *files)}")


def identify(asked: IdentifyOptions, terminal: Terminal) -> None:
    """Name the members on photos; reject strangers.

    A person is found at most once on a photo. Distances are squared, 0 to 4; smaller is more alike. Pages and copies
    are for your eyes alone (mode 0600), and no copy replaces a file.

    Example: scalesearch faces identify photos/
    """
    from scalesearch.api import faces as api

    with reading_bar(terminal.json) as bar:
        result = api.identify(**vars(replace(asked, reading=bar.reading)))
    rows, threshold = result.rows, result.threshold
    if terminal.json:
        print_json(rows)
        return
    who = "strangers" if threshold.basis == "strangers" else "other members"
    if asked.out is None:
        title = "Faces" if len(rows) <= SHOWN else f"The first {SHOWN} faces (all with --out or --json)"
        columns = ("photo", "name", "distance", "next", f"{who} as near")
        shown_rows = [_shown(row, threshold.photos) for row in rows[:SHOWN]]
        show(table(title, columns, shown_rows, optional=(columns[4], columns[3])))
    members = sum(row["member"] for row in rows)
    faces = sum(not row["error"] for row in rows)
    shown = f"{counted(result.photos, 'photo')}, {counted(faces, 'face')}"
    say(f"{shown}: {members} taken for members, {faces - members} not")
    say(f"Taken for a member: nearer than {threshold.distance:.3f}, as {show_percent(threshold.expected)} of {who} are")
    if line := let_in_words(faces, result.interval):
        say(line)
    for line in _copies(asked, result.copies):
        say(line)
    if asked.out is not None:
        say(f"Written: {asked.out}")


def _copies(asked: IdentifyOptions, copies: "HandedOut") -> list[str]:
    """What was made of the photos."""
    lines = [f"Note: {note}" for note in copies.notes]
    if asked.annotate is not None:
        lines.append(f"Marked copies: {copies.annotated} in {asked.annotate}")
    if asked.sort_into is not None:
        lines.append(f"Sorted copies in {asked.sort_into}: {sum(count for _, count in copies.sorted)}")
        lines += [f"  {name}: {count}" for name, count in copies.sorted]
    if asked.page is not None:
        lines.append(f"Page: {asked.page}")
    return lines


def _shown(row: dict[str, Any], strangers: int) -> list[str]:
    where = row["file"] + (f" ({row['face']} of {row['faces']})" if row["faces"] > 1 else "")
    if row["error"]:
        return [where, row["error"], "–", "–", "–"]
    nearest = (row["nearest"], row["distance"])
    own, other = nearest, (row["runner_up"], row["runner_up_distance"])
    if row["name"] == row["runner_up"]:
        own, other = other, nearest
    elif not row["member"]:
        other = nearest
    shown = f"{other[0]} {other[1]:.3f}" if other[0] else "–"
    near = f"{row['strangers_as_near']} of {strangers}"
    return [where, row["name"] or row["note"] or "not a member", f"{own[1]:.3f}", shown, near]


def verify(asked: FaceVerifyOptions, terminal: Terminal) -> None:
    """Compare two photos: are they of one person?

    Where a photo shows several faces, the nearest pair of the two photos counts. The limit is the one that comes with
    the body, or is fitted on pairs of different people in --strangers.

    Example: scalesearch faces verify a.jpg b.jpg
    """
    from scalesearch.api import faces as api

    with reading_bar(terminal.json) as bar:
        result = api.verify(**vars(replace(asked, reading=bar.reading)))
    if terminal.json:
        print_json(result.to_dict())
        return
    for note in result.notes:
        say(f"Note: {note}")
    for line in _verified(asked, result):
        say(line)


def _verified(asked: FaceVerifyOptions, result: "FaceVerification") -> list[str]:
    """The answer in sentences."""
    limit = result.limit
    said = {"one person": "one person", "two people": "two people", "undecided": "cannot be said"}[result.verdict]
    lines = [f"{said[0].upper()}{said[1:]}: the squared distance is {result.distance:.3f} (0 to 4)"]
    pairs = result.faces[0] * result.faces[1]
    if pairs > 1:
        lines.append(
            f"There are {result.faces[0]} and {result.faces[1]} faces on the photos: this is the nearest of their "
            f"{pairs} pairs (face {result.chosen[0]['face']} and face {result.chosen[1]['face']}, counted from the "
            "largest)"
        )
    if limit is None:
        return [*lines, "From which distance on it is another person is not known of this body: give --strangers"]
    if limit.basis == "body":
        where = ", measured on photos of LFW" if str(asked.body) == FACE else ""
        lines.append(
            f"Limit {limit.distance:.3f}, which comes with the body: nearer is one pair of two people in a "
            f"thousand{where}. Other photos may need another limit: --strangers"
        )
    else:
        lines.append(
            f"Limit {limit.distance:.3f}: nearer are {limit.nearer} of {limit.pairs} pairs of two people, of "
            f"{limit.people} people in {asked.strangers}"
        )
        if limit.far * limit.pairs < 1:
            lines.append(
                f"WARNING: {limit.pairs} pairs are too few for {show_percent(limit.far, 2)}. The limit is the distance "
                "of the nearest pair"
            )
    if result.verdict == "two people":
        share = f": of {limit.same} such pairs there {limit.same - limit.same_nearer} are" if limit.same else ""
        lines.append(f"Photos of one person can be as far apart, too{share}")
    return lines


def strangers(asked: StrangersOptions, terminal: Terminal) -> None:
    """Make a set of strangers of your own photos without names: everyone on them who is not enrolled.

    Faces are grouped by likeness into a folder for each person. Look at index.html there: it asks which of them are not
    members, and shows the command that fits the threshold on those. It needs a gallery, whose threshold may be missing
    or rest on the members.

    Example: scalesearch faces strangers photos/ --out strangers/
    """
    from scalesearch.api import faces as api

    with reading_bar(terminal.json) as bar:
        result = api.strangers(**vars(replace(asked, reading=bar.reading)))
    if terminal.json:
        print_json(result.to_dict())
        return
    for line in (*(f"Note: {note}" for note in result.notes), *result.basis):
        say(line)
    doubtful = [one for one in result.groups if one.doubtful]
    faces = sum(len(one.faces) for one in result.groups)
    say(
        f"{counted(result.photos, 'photo')}: {counted(len(result.groups), 'group')} of {counted(faces, 'face')}, "
        f"{len(doubtful)} of them in doubt; {counted(result.members, 'face')} left out as members'"
    )
    say(f"Look at {result.folder}/index.html and tick those who are not members")
    if len(doubtful) <= SHORT_LIST:
        say(f"Then, unless you changed something there: {result.command}")
    else:
        say("Then type the command that stands there")


def members(asked: MembersOptions, terminal: Terminal) -> None:
    """Show who is enrolled, and the threshold."""
    from scalesearch.api import faces as api

    gallery = api.members(**vars(asked))
    if terminal.json:
        print_json({"people": gallery.people, "model": gallery.model, "threshold": _values(gallery)})
        return
    show_rows(str(asked.gallery), ("name", "photos"), gallery.people.items())
    _say_threshold(gallery.threshold) if gallery.threshold else say("No threshold yet: scalesearch faces enroll")


def remove(asked: RemoveOptions, terminal: Terminal) -> None:
    """Delete people from the gallery: their names and all their embeddings.

    A threshold that was fitted on strangers stays: without these people nobody else comes nearer. One that rests on the
    members is fitted anew on those who stay.
    """
    from scalesearch.api import faces as api

    result = api.remove(**vars(asked))
    gallery = result.gallery
    if terminal.json:
        print_json({
            "removed": list(result.people), "people": len(gallery.names), "photos": len(gallery),
            "threshold": _values(gallery), "threshold_kept": result.threshold_kept,
        })  # fmt: skip
        return
    left = len(gallery.names)
    say(f"Removed {', '.join(result.people)}; {left} {'person' if left == 1 else 'people'} left")
    if gallery.threshold:
        stays = "stays, too: it was fitted on strangers" if result.threshold_kept else "is fitted on who stays:"
        say(f"The threshold {stays}")
        _say_threshold(gallery.threshold)
    else:
        say("There is no threshold any more: it takes two members, or --strangers with enroll")


def evaluate(asked: FaceEvaluateOptions, terminal: Terminal) -> None:
    """Evaluate a model: verification of pairs, rank-1, recognition among strangers.

    Example: scalesearch faces evaluate people/ --strangers others/ --out report
    """
    from scalesearch.api import faces as api
    from scalesearch.reports.face_figures import evaluation_tables

    with reading_bar(terminal.json) as bar:
        values = api.evaluate(**vars(replace(asked, reading=bar.reading))).values
    if terminal.json:
        print_json(values)
        return
    for note in values["notes"]:
        say(f"Note: {note}")
    for title, rows in evaluation_tables(values):
        show_rows(title, ("measure", "value"), rows)
    say("Brackets: 95 % intervals, people resampled")
    if asked.out is not None:
        say(
            f"Written: {asked.out}/evaluation.json, evaluation.md, per_person.csv, roc.png, distances.png, open_set.png"
        )


def _named(option: str, file: Path | str, default: Path | str) -> list[str]:
    """The option that names a file, where it is not the default."""
    return [] if Path(file) == Path(default) else [f"--{option}", str(file)]


def _values(gallery: "Gallery") -> dict[str, Any] | None:
    return gallery.threshold.to_dict() if gallery.threshold else None


def _say_threshold(threshold: "Threshold") -> None:
    """The threshold, its error and what it rests on, in words."""
    next_ones = show_interval(threshold.low_next, threshold.high_next)
    who = "strangers" if threshold.basis == "strangers" else "members, each in turn taken for a stranger"
    say(
        f"Threshold {threshold.distance:.3f} (squared distance), fitted on {threshold.photos} photos of "
        f"{threshold.people} {who}"
    )
    say(
        f"False positives to expect: {show_percent(threshold.expected)} of strangers' photos; 95 % interval "
        f"{show_interval(threshold.low, threshold.high)} in the long run, {next_ones} among {threshold.photos} further "
        "photos of such people"
    )
    if threshold.expected > threshold.fpir:
        needed = -(-1 // threshold.fpir) - 1
        say(
            f"WARNING: {threshold.photos} photos are too few for {show_percent(threshold.fpir, 2)}: it takes "
            f"{needed:.0f}. The threshold is below the nearest stranger"
        )
    if threshold.basis == "members":
        say("WARNING: no photos of strangers: real ones may come nearer than members come to one another")


app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Recognise the members of a group on photos; reject strangers.\n\n"
    "Start with: scalesearch faces enroll PEOPLE --strangers OTHERS, folders with a folder of photos per person.",
)
for name, options, shown in (
    ("fit", FitOptions, fit), ("enroll", EnrollOptions, enroll), ("identify", IdentifyOptions, identify),
    ("verify", FaceVerifyOptions, verify), ("strangers", StrangersOptions, strangers),
    ("list", MembersOptions, members), ("remove", RemoveOptions, remove),
    ("evaluate", FaceEvaluateOptions, evaluate),
):  # fmt: skip
    app.command(cls=Command)(command(name, options, shown, "json"))  # type: ignore[arg-type]
