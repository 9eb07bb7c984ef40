"""Commands that use a saved model: evaluate, predict, export."""

from dataclasses import asdict
from typing import Any

from scalesearch.api.evaluate import EvaluateOptions, Prediction, PredictOptions, file_of, judge, name_images
from scalesearch.api.export import ExportOptions, write_export
from scalesearch.cli.commands import Terminal
from scalesearch.cli.shell import Bar, explain, interruptible, print_json, say, show_rows
from scalesearch.errors import UserError

SHOWN = 20


def evaluate(asked: EvaluateOptions, terminal: Terminal) -> None:
    """Judge a saved model: top-1, top-5, per class, confusion, calibration.

    Example: scalesearch evaluate runs/mbconv_small-glyphs-own/models/b1-glyphs/model.safetensors
    """
    result = judge(asked)
    if terminal.json:
        print_json(result.to_dict())
        return
    print_accuracy(result.values, result.part)
    show_rows("Per class", ("class", "images", "accuracy"), result.rows())
    error = f"{result.calibration.ece:.1%}"
    say(f"Expected calibration error {error}: how far stated probabilities are from the share right")
    if asked.out is not None:
        say(f"Written: {asked.out}/evaluation.json, confusion.csv, confusion.png, calibration.png")
    model = file_of(asked.model)
    explain(f"Next: scalesearch predict {model} IMAGES; scalesearch export {model} --format onnx")


def print_accuracy(values: dict[str, Any], part: str = "test") -> None:
    """Accuracy with its interval, in one line."""
    say(
        f"Accuracy on {values['images']} {part} images: {values['top1']:.1%} (95 % interval {values['low']:.1%}–"
        f"{values['high']:.1%}), top-5 {values['top5']:.1%}"
    )


def predict(asked: PredictOptions, terminal: Terminal) -> None:
    """Name what is on images, with probabilities. Unreadable files are reported, not fatal.

    Example: scalesearch predict model.safetensors photos/ --out predictions.csv
    """
    with interruptible(), Bar(0, 0, quiet=terminal.json) as bar:

        def reading(done: int, total: int) -> None:
            bar.total(total)
            bar.show("Predicting", done)

        named = name_images(asked, reading)
    unread = [one for one in named if one.error]
    if len(unread) == len(named):
        raise UserError(unread[0].file, f"no readable image ({unread[0].error})", "at least one image")
    if terminal.json:
        print_json([one.to_dict() for one in named])
        return
    if asked.out is None:
        _print_predictions(named)
    say(f"{len(named) - len(unread)} images predicted" + (f", {len(unread)} unreadable" if unread else ""))
    for one in unread[:SHOWN]:
        say(f"Unreadable: {one.file}: {one.error}")
    if asked.out is not None:
        say(f"Written: {asked.out}")
    else:
        explain(f"All classes and files: scalesearch predict {file_of(asked.model)} … --out predictions.csv")


def _print_predictions(named: list[Prediction]) -> None:
    title = "Predictions" if len(named) <= SHOWN else f"Predictions, the first {SHOWN} (all with --out or --json)"
    rows = [[one.file, one.label or "", f"{one.probability:.1%}"] for one in named if one.probability is not None]
    show_rows(title, ("file", "class", "probability"), rows[:SHOWN])


def export(asked: ExportOptions, terminal: Terminal) -> None:
    """Write a model for other programs. The file is run and its logits compared before it is kept.

    Example: scalesearch export model.safetensors --format onnx
    """
    result = write_export(asked)
    if terminal.json:
        print_json({**asdict(result), "file": str(result.file)})
        return
    say(f"Written: {result.file} (run and compared: logits differ by {result.largest_difference:.1e} at most)")
    mean, std = (", ".join(f"{value:.4g}" for value in values) for values in (result.mean, result.std))
    explain(
        f"It takes RGB images of {result.resolution}×{result.resolution} px, 0 to 1, normalised by mean {mean} and "
        f"standard deviation {std}"
    )
