"""The command that judges a saved model."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from scalesearch.cli.options import DataOption, DeviceOption, JsonOption, SkipOption

if TYPE_CHECKING:
    from scalesearch.api.using import Judged


def evaluate(
    model: Annotated[Path, typer.Argument(help="A model.safetensors that finetune wrote.")],
    data: DataOption = None,
    part: Annotated[Literal["test", "validation", "train"], typer.Option(help="Which images.")] = "test",
    device: DeviceOption = "auto",
    skip_broken: SkipOption = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder for evaluation.json, confusion.csv and two figures; none if left out.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Judge a saved model: top-1, top-5, per class, confusion, calibration.

    Example: scalesearch evaluate runs/mbconv_small-glyphs-own/models/b1-glyphs/model.safetensors
    """
    from scalesearch.api.using import judge
    from scalesearch.cli.progress import explain, say
    from scalesearch.cli.show import print_json, print_table

    found = judge(model, data, part, device, skip_broken)
    if out is not None:
        _write(out, found)
    if json:
        print_json(found.to_dict())
        return
    print_test(found.values, part)
    print_table("Per class", ("class", "images", "accuracy"), found.rows())
    say(
        f"Expected calibration error {found.calibration.ece:.1%}: how far stated probabilities are from the share right"
    )
    if out is not None:
        say(f"Written: {out}/evaluation.json, confusion.csv, confusion.png, calibration.png")
    explain(f"Next: scalesearch predict {model} IMAGES; scalesearch export {model} --format onnx")


def print_test(values: dict[str, Any], part: str = "test") -> None:
    """Accuracy with its interval, in one line."""
    from scalesearch.cli.progress import say

    say(
        f"Accuracy on {values['images']} {part} images: {values['top1']:.1%} (95 % interval {values['low']:.1%}–"
        f"{values['high']:.1%}), top-5 {values['top5']:.1%}"
    )


def _write(out: Path, found: "Judged") -> None:
    import csv
    import io

    from scalesearch.files import write_bytes, write_json, write_text
    from scalesearch.reports.axes import rendered
    from scalesearch.reports.evaluation_figures import calibration_figure, confusion_figure

    classes, counts, reliability = found.classes, found.confusion, found.calibration.to_dict()
    table = io.StringIO()
    csv.writer(table).writerows(
        [["true", *classes], *([name, *row] for name, row in zip(classes, counts, strict=True))]
    )
    write_json(out / "evaluation.json", {**found.to_dict(), "calibration": reliability})
    write_text(out / "confusion.csv", table.getvalue())
    write_bytes(out / "confusion.png", rendered(confusion_figure(counts, classes), "png"))
    write_bytes(out / "calibration.png", rendered(calibration_figure(reliability), "png"))
