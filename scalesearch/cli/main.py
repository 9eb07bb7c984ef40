"""The ``scalesearch`` command: the list of its commands, and how errors end."""

import os
import sys

import typer

from scalesearch.cli import design, evaluate, export, faces, finetune, grid, predict, report, verify
from scalesearch.errors import RunInterruptedError, ScaleSearchError, UserError

app = typer.Typer(
    name="scalesearch",
    help="EfficientNet's compound scaling, searched by training, on your data.\n\n"
    "Start with: scalesearch grid --space mbconv_small --data PATH",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    design.baseline, grid.grid, design.scale, design.family, finetune.finetune, evaluate.evaluate, predict.predict,
    export.export, report.report, verify.verify,
):  # fmt: skip
    app.command()(command)
app.add_typer(faces.app, name="faces")


def version(value: bool) -> None:
    """Prints the version and leaves."""
    if value:
        from scalesearch import __version__

        typer.echo(__version__)
        raise typer.Exit()


@app.callback()
def main(
    _version: bool = typer.Option(False, "--version", callback=version, is_eager=True, help="Print the version."),
) -> None:
    """EfficientNet's compound scaling, searched by training, on your data.

    A first search, on images that come with the package:

      scalesearch grid --space mbconv_small

    then: scalesearch family, scalesearch finetune --model b1, scalesearch report.
    """


def run() -> None:
    """Entry point. Exit codes: 0 done, 1 our fault, 2 the input's, 130 interrupted."""
    try:
        app()
    except UserError as error:
        _end(f"Error: {error}", 2)
    except RunInterruptedError as error:
        _end(f"\n{error}", 130)
    except ScaleSearchError as error:
        _end(f"Error: {error}", 1)
    except BrokenPipeError:  # the reader of our output went away, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)


def _end(message: str, code: int) -> None:
    typer.echo(message, err=True)
    sys.exit(code)
