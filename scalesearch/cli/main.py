"""The ``scalesearch`` command: the list of its commands, and how errors end."""

import os
import sys

import typer

from scalesearch.api.options import (
    BaselineOptions,
    EvaluateOptions,
    ExportOptions,
    FamilyOptions,
    FinetuneOptions,
    NoOptions,
    PredictOptions,
    ReportOptions,
    ScaleOptions,
    SearchOptions,
    VerifyOptions,
)
from scalesearch.cli import design, device, faces, look, search, use
from scalesearch.cli.commands import command
from scalesearch.cli.grouped import Command, Group, first
from scalesearch.cli.interruption import interruptible
from scalesearch.cli.spelling import spell_streams
from scalesearch.data.places import lend_home
from scalesearch.errors import RunInterruptedError, ScaleSearchError, UserError

SEARCH, USE, LOOK = "Search", "Train and use", "Look"
app = typer.Typer(
    name="scalesearch",
    cls=Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
COMMANDS = {
    SEARCH: (
        command("baseline", BaselineOptions, design.baseline, "fvcore", "json"),
        command("grid", SearchOptions, search.grid, "dry_run", "yes", "json"),
        command("verify", VerifyOptions, search.verify_scaling, "dry_run", "yes", "json"),
        command("scale", ScaleOptions, design.scale, "json"),
        command("family", FamilyOptions, design.family, "dry_run", "yes", "json"),
    ),
    USE: (
        command("finetune", FinetuneOptions, use.finetune, "find_lr", "plan", "json"),
        command("evaluate", EvaluateOptions, use.evaluate, "json"),
        command("predict", PredictOptions, use.predict, "json"),
        command("export", ExportOptions, use.export, "json"),
    ),
    LOOK: (
        command("report", ReportOptions, look.report, "watch", "json"),
        command("paper", NoOptions, look.paper, "json"),
        command("doctor", NoOptions, look.doctor, "json"),
    ),
}
for panel, commands in COMMANDS.items():
    for one in commands:
        app.command(cls=Command, rich_help_panel=panel)(one)
app.add_typer(faces.app, name="faces", rich_help_panel=USE)
app.add_typer(device.app, name="device", rich_help_panel=LOOK)


def version(value: bool) -> None:
    """Prints the version and leaves."""
    if value:
        from scalesearch import __version__

        typer.echo(__version__)
        raise typer.Exit()


@app.callback()
def main(
    quiet: bool = typer.Option(False, "--quiet", "-q", help="Print results only; may stand behind the command, too."),
    verbose: bool = typer.Option(False, "--verbose", "-v", help="Log digests, settings and times to standard error."),
    _version: bool = typer.Option(False, "--version", callback=version, is_eager=True, help="Print the version."),
) -> None:
    """EfficientNet's compound scaling, searched by training, on your data.

    A first search, on images that come with the package:

      scalesearch grid --space mbconv_small

    On your own, a folder with a folder of images per class; then the family, one trained member, the report:

      scalesearch grid --space mbconv_small --data path/to/images

      scalesearch family

      scalesearch finetune --model b1

      scalesearch report

    From ImageNet weights, without a search:

      scalesearch finetune --model efficientnet_b0 --weights imagenet --data path/to/images
    """
    from scalesearch.cli.shell import set_verbosity

    set_verbosity(quiet, verbose)


def run() -> None:
    """The command line in this process. Exit codes: 0 done, 1 our fault, 2 the input's, 130 interrupted."""
    spell_streams()
    lend_home(os.environ)
    try:
        with interruptible():
            app(first(sys.argv[1:]), prog_name="scalesearch")
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
    if os.environ.get("RANK", "0") == "0":  # of several processes that train together the first one speaks
        print(message, file=sys.stderr)
    sys.exit(code)
