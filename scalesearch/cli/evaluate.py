"""The command that judges a saved model."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from scalesearch.cli.design import JsonOption
from scalesearch.cli.options import DataOption, DeviceOption, SkipOption

if TYPE_CHECKING:
    from scalesearch.training.calibration import Calibration


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
    from scalesearch.cli.progress import say
    from scalesearch.cli.show import print_json, print_table
    from scalesearch.data.dataset import dataset, open_data
    from scalesearch.nets.weights import load_network
    from scalesearch.training.calibration import calibration
    from scalesearch.training.device import choose_device
    from scalesearch.training.finetune import evaluate_model, report
    from scalesearch.training.metrics import class_accuracy, confusion
    from scalesearch.training.model_file import DATA

    network, metadata = load_network(model)
    name = metadata.get(DATA, "") if data is None else data
    parts = dataset(open_data(name, skip_broken=skip_broken), network.spec.resolution)
    found = evaluate_model(network, metadata, parts, part, choose_device(device))
    counts = confusion(found.labels, found.predictions, len(parts.classes))
    reliability = calibration(found.labels == found.predictions, found.probabilities)
    shares = [None if share != share else share for share in class_accuracy(counts).tolist()]
    values = {
        **report(found), "part": part, "per_class": dict(zip(parts.classes, shares, strict=True)),
        "expected_calibration_error": reliability.ece,
    }  # fmt: skip
    if out is not None:
        _write(out, values, counts.tolist(), parts.classes, reliability)
    if json:
        print_json(values)
        return
    print_test(values, part)
    print_table(
        "Per class",
        ("class", "images", "accuracy"),
        [
            [name, str(total), "–" if share is None else f"{share:.1%}"]
            for name, total, share in zip(parts.classes, counts.sum(1).tolist(), shares, strict=True)
        ],
    )
    say(f"Expected calibration error {reliability.ece:.1%}: how far stated probabilities are from the share right")
    if out is not None:
        say(f"Written: {out}/evaluation.json, confusion.csv, confusion.png, calibration.png")


def print_test(values: dict[str, Any], part: str = "test") -> None:
    """Accuracy with its interval, in one line."""
    from scalesearch.cli.progress import say

    say(
        f"Accuracy on {values['images']} {part} images: {values['top1']:.1%} (95 % interval {values['low']:.1%}–"
        f"{values['high']:.1%}), top-5 {values['top5']:.1%}"
    )


def _write(
    out: Path, values: dict[str, Any], counts: list[list[int]], classes: tuple[str, ...], reliability: "Calibration"
) -> None:
    import csv
    import io

    from scalesearch.files import write_bytes, write_json, write_text
    from scalesearch.reports.axes import rendered
    from scalesearch.reports.evaluation_figures import calibration_figure, confusion_figure

    table = io.StringIO()
    csv.writer(table).writerows(
        [["true", *classes], *([name, *row] for name, row in zip(classes, counts, strict=True))]
    )
    write_json(out / "evaluation.json", {**values, "calibration": reliability.to_dict()})
    write_text(out / "confusion.csv", table.getvalue())
    write_bytes(out / "confusion.png", rendered(confusion_figure(counts, classes), "png"))
    write_bytes(out / "calibration.png", rendered(calibration_figure(reliability.to_dict()), "png"))
