"""The command that names what is on photos."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scalesearch.cli.options import DeviceOption, JsonOption
from scalesearch.errors import UserError

if TYPE_CHECKING:
    from scalesearch.api.using import Named

SHOWN = 20
ALL_CLASSES = 50  # up to so many a CSV has a column for each


def predict(
    model: Annotated[Path, typer.Argument(help="A model.safetensors that finetune wrote.")],
    images: Annotated[list[str], typer.Argument(help="Images, or folders of them.")],
    out: Annotated[Path | None, typer.Option(help="A .csv or .json file; a table is printed if left out.")] = None,
    top: Annotated[int, typer.Option(min=1, help="Classes to name for each image.")] = 5,
    batch_size: Annotated[int, typer.Option(min=1, help="Images at a time.")] = 64,
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """Name what is on images, with probabilities. Unreadable files are reported, not fatal.

    Example: scalesearch predict model.safetensors photos/ --out predictions.csv
    """
    from scalesearch.api.using import named
    from scalesearch.cli.progress import Bar, explain, interruptible, say
    from scalesearch.cli.show import print_json

    if out is not None and out.suffix not in (".csv", ".json"):
        raise UserError("--out", str(out), "a name that ends in .csv or .json")
    with_all = out is not None and out.suffix == ".csv"
    classes, total, found = named(model, images, None if with_all else top, batch_size, device)
    rows: list[dict[str, Any]] = []
    with interruptible(), Bar(total, 0, quiet=json) as bar:
        for one in found:
            rows.append(_row(one, None if len(classes) <= ALL_CLASSES else top))
            bar.show("Predicting", len(rows))
    unread = [row for row in rows if row["error"]]
    if len(unread) == len(rows):
        raise UserError(str(images[0]), f"no readable image ({unread[0]['error']})", "at least one image")
    if out is not None:
        _write(out, rows, classes)
    if json:
        print_json(rows)
        return
    if out is None:
        _print(rows)
    say(f"{len(rows) - len(unread)} images predicted" + (f", {len(unread)} unreadable" if unread else ""))
    for row in unread[:SHOWN]:
        say(f"Unreadable: {row['file']}: {row['error']}")
    if out is not None:
        say(f"Written: {out}")
    else:
        explain(f"All classes and files: scalesearch predict {model} … --out predictions.csv")


def _row(one: "Named", top: int | None) -> dict[str, Any]:
    """As files and JSON have it, with the ``top`` likeliest classes (None: all that are there)."""
    kept = dict(list(one.probabilities.items())[:top])
    return {
        "file": one.file, "class": one.label, "probability": one.probability, "error": one.error,
        "probabilities": kept,
    }  # fmt: skip


def _print(rows: list[dict[str, Any]]) -> None:
    from scalesearch.cli.show import print_table

    title = "Predictions" if len(rows) <= SHOWN else f"Predictions, the first {SHOWN} (all with --out or --json)"
    shown = [row for row in rows if not row["error"]][:SHOWN]
    print_table(
        title,
        ("file", "class", "probability"),
        [[row["file"], row["class"], f"{row['probability']:.1%}"] for row in shown],
    )


def _write(out: Path, rows: list[dict[str, Any]], classes: tuple[str, ...]) -> None:
    import csv
    import io

    from scalesearch.files import write_json, write_text

    if out.suffix == ".json":
        write_json(out, rows)
        return
    names = [name for name in classes if any(name in row["probabilities"] for row in rows)]
    table = io.StringIO()
    writer = csv.writer(table)
    writer.writerow(["file", "class", "probability", "error", *names])
    for row in rows:
        shares = [row["probabilities"].get(name, "") for name in names]
        writer.writerow([row["file"], row["class"] or "", row["probability"] or "", row["error"], *shares])
    write_text(out, table.getvalue())
