"""The command that judges an embedding of faces."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scalesearch.cli.faces_options import (
    FOLDER,
    CropOption,
    FpirOption,
    ModelOption,
    StrangersOption,
    open_detector,
    read_photos,
    vectors_of,
)
from scalesearch.cli.options import DeviceOption, JsonOption, SkipOption
from scalesearch.errors import UserError

if TYPE_CHECKING:
    from scalesearch.faces.model_file import FaceModel
    from scalesearch.faces.photos import Crowd


def evaluate(
    people: Annotated[str, typer.Argument(help="Folder with a folder of photos per person, none of them trained on.")],
    model: ModelOption = FOLDER / "model.safetensors",
    strangers: StrangersOption = None,
    pairs: Annotated[
        Path | None, typer.Option(help="CSV of pairs, columns a, b, same; every pair of the folder if left out.")
    ] = None,
    fpir: FpirOption = 0.01,
    crop: CropOption = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the division into enrolled and shown, and of folds.")] = 0,
    skip_broken: SkipOption = False,
    out: Annotated[Path | None, typer.Option(help="Folder for evaluation.json, tables and figures.")] = None,
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """Judge a model: verification of pairs, rank-1, recognition among strangers.

    Example: scalesearch faces evaluate people/ --strangers others/ --out report
    """
    from scalesearch.cli.shell import Bar, interruptible, print_json
    from scalesearch.faces.evaluate import (
        every_pair,
        histogram,
        listed_pairs,
        open_set,
        open_set_curve,
        open_set_values,
        read_pairs,
        roc_curve,
        verification,
    )
    from scalesearch.faces.model_file import load_model
    from scalesearch.faces.threshold import check_rate
    from scalesearch.training.device import choose_device

    check_rate(fpir)
    known = load_model(model)
    where = str(choose_device(device))
    notes: list[str] = []
    with interruptible(), Bar(0, 0, quiet=json) as bar:
        detect = open_detector(known.crop if crop is None else crop)
        crowd = read_photos(people, "PEOPLE", known, detect, skip_broken, bar)
        others = read_photos(strangers, "--strangers", known, detect, skip_broken, bar) if strangers else None
        notes += [*crowd.notes, *(others.notes if others else ())]
        _check_disjoint(known, crowd, others)
        embedded = vectors_of(known, crowd, where)
        strange = vectors_of(known, others, where) if others else None
    if pairs is None:
        compared, folds = every_pair(embedded), None
    else:
        places = {file: place for place, file in enumerate(crowd.files)}
        left, right, folds = read_pairs(pairs, places)
        compared = listed_pairs(embedded, left, right)
    found = open_set(embedded, strange, fpir, seed)
    values: dict[str, Any] = {
        "model": known.digest, "people": len(crowd.names), "photos": len(crowd), "seed": seed, "notes": notes,
        "verification": verification(compared, folds, seed), "open_set": open_set_values(found),
    }  # fmt: skip
    if out is not None:
        curves = {"roc": roc_curve(compared), "distances": histogram(compared), "open_set": open_set_curve(found)}
        _write_evaluation(out, {**values, "curves": curves})
    if json:
        print_json(values)
        return
    _print_evaluation(values, out)


def _check_disjoint(model: "FaceModel", people: "Crowd", strangers: "Crowd | None") -> None:
    """Raises UserError where photos were trained on, or a person is on both sides."""
    for option, crowd in (("PEOPLE", people), ("--strangers", strangers)):
        if crowd and (seen := len(model.trained_on & set(crowd.digests))):
            raise UserError(
                option, f"{seen} photo(s) that the model was trained on", "people whom training never saw",
                "Keep some people apart from the start, for evaluation alone.",
            )  # fmt: skip
    if strangers and (both := sorted(set(people.names) & set(strangers.names))):
        raise UserError("--strangers", f"people of {', '.join(both[:5])} on both sides", "other people")
    if strangers and (shared := len(set(people.digests) & set(strangers.digests))):
        raise UserError("--strangers", f"{shared} photo(s) of members", "photos of other people")


def _print_evaluation(values: dict[str, Any], out: Path | None) -> None:
    from scalesearch.cli.shell import say

    for note in values["notes"]:
        say(f"Note: {note}")
    pairs, known = values["verification"], values["open_set"]
    say(f"Verification, {pairs['pairs']} pairs ({pairs['same']} of one person), folds {pairs['folds']}:")
    say(f"  accuracy {pairs['accuracy']:.1%} ± {pairs['accuracy_error']:.1%} (10 folds), AUC {pairs['auc']:.3f}")
    for far, found in pairs["tar"].items():
        say(f"  TAR at FAR {far}: {found['tar']:.1%} {_interval(found['interval'])}")
    say(f"Identification, {known['members']} members, {known['probes']} photos of them shown:")
    say(f"  rank-1 {known['rank1']:.1%} {_interval(known['rank1_interval'])}")
    for rate, found in known["tpir_at"].items():
        say(f"  TPIR at FPIR {rate}: {found['tpir']:.1%} {_interval(found['interval'])}")
    threshold = known["threshold"]
    say(
        f"Threshold {threshold['distance']:.3f} fitted on {threshold['photos']} photos of {threshold['people']} "
        f"strangers for {threshold['fpir']:g}:"
    )
    say(
        f"  on {known['stranger_photos']} photos of other strangers {known['fpir']:.1%} are false positives (predicted "
        f"{_interval(known['fpir_interval'])}); {known['tpir']:.1%} {_interval(known['tpir_interval'])} of members' "
        "photos are recognised"
    )
    say("Brackets: 95 % intervals, people resampled")
    if out is not None:
        say(f"Written: {out}/evaluation.json, evaluation.md, per_person.csv, roc.png, distances.png, open_set.png")


def _interval(values: "tuple[float, float] | list[float]") -> str:
    return f"[{values[0]:.1%}, {values[1]:.1%}]"


def _write_evaluation(out: Path, values: dict[str, Any]) -> None:
    import csv
    import io

    from scalesearch.files import write_bytes, write_json, write_text
    from scalesearch.reports.axes import rendered
    from scalesearch.reports.face_figures import distance_figure, evaluation_markdown, open_set_figure, roc_figure

    table = io.StringIO()
    rows = values["open_set"]["per_person"]
    writer = csv.DictWriter(table, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    write_text(out / "per_person.csv", table.getvalue())
    write_json(out / "evaluation.json", values)
    curves = values["curves"]
    figures = {
        "roc": roc_figure({"this model": curves["roc"]}),
        "distances": distance_figure({"this model": curves["distances"]}),
        "open_set": open_set_figure({"this model": curves["open_set"]}),
    }
    for name, figure in figures.items():
        write_bytes(out / f"{name}.png", rendered(figure, "png"))
        write_bytes(out / f"{name}.svg", rendered(figure, "svg"))
    write_text(out / "evaluation.md", evaluation_markdown(values))
