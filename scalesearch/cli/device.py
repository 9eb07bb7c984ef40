"""The commands on devices: each calls one function of ``scalesearch.api.device`` and prints what comes back."""

from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import typer

from scalesearch.api.options import DeviceMeasureOptions, DeviceProbeOptions, DeviceShowOptions
from scalesearch.cli.commands import Terminal, command
from scalesearch.cli.grouped import Command, Group
from scalesearch.cli.shell import Bar, explain, print_json, say
from scalesearch.cli.shell import show as show_table
from scalesearch.errors import pasted
from scalesearch.table import table
from scalesearch.units import show_bytes, show_count, show_percent

if TYPE_CHECKING:
    from scalesearch.design.latency import LatencyTable
    from scalesearch.table import Table

TOLD = 0.1  # of the networks: a line each, where there is no bar


SHARES = ("convolutions", "depthwise", "squeeze", "activations", "other")  # of ``LatencyTable.shares``


def measure(asked: DeviceMeasureOptions, terminal: Terminal) -> None:
    """Time networks on this machine, and write the table that tells the time of any other.

    Some hundred small networks of the spaces' blocks, and whole ones, are timed by turns. The table says how far it is
    off on networks that it was not made from. Let nothing else run meanwhile.

    Examples:

      scalesearch device measure --runtime onnxruntime --threads 1

      scalesearch device measure --from-probe times.json --out board.json
    """
    from scalesearch.api import device as api

    with Bar(0, 0, terminal.json) as bar:
        told: list[int] = []

        def timing(done: int, total: int) -> None:
            bar.total(total)
            bar.show("Timing networks", done)
            if int(done / total / TOLD) > len(told):
                told.append(done)
                bar.line(f"{done} of {total} networks timed")

        result = api.measure(**vars(replace(asked, reading=timing)))
    if terminal.json:
        print_json({"file": str(result.file), **asdict(result.table)})
        return
    _say_table(result.table)
    say(f"Written: {result.file}")
    explain(f"Next: {pasted('scalesearch', 'device', 'show', result.file)}")


def show(asked: DeviceShowOptions, terminal: Terminal) -> None:
    """Show what a latency table is of, how far it is off, and what it says of networks that you know.

    Example: scalesearch device show device.json
    """
    from scalesearch.api import device as api

    result = api.show(**vars(asked))
    if terminal.json:
        print_json(asdict(result))
        return
    _say_table(result)
    show_table(_baselines(result))


def probe(asked: DeviceProbeOptions, terminal: Terminal) -> None:
    """Write networks, and a program that times them on another device, such as a board.

    The device needs Python and onnxruntime, nothing else. Copy the folder there, run run.py, bring times.json back.

    Example: scalesearch device probe board/
    """
    from scalesearch.api import device as api

    result = api.probe(**vars(asked))
    if terminal.json:
        print_json({"folder": str(result.folder), "networks": result.networks, "bytes": result.size})
        return
    say(f"Written: {result.folder}, {result.networks} networks, {show_bytes(result.size)}")
    explain("Copy it to the device, and there, with nothing else running:")
    explain("  pip install onnxruntime")
    explain(f"  {pasted('python', result.folder / 'run.py', '--threads', 1, '--out', 'times.json')}")
    explain("Then here: scalesearch device measure --from-probe times.json --out board.json")


def _say_table(result: "LatencyTable") -> None:
    say(str(result))
    say(f"{result.error_words[0].upper()}{result.error_words[1:]}")
    if result.check is not None:
        bias = ", ".join(
            f"{name} {show_percent(value, sign=True)}"
            for name, value in (
                ("depth", result.check.depth), ("width", result.check.width), ("resolution", result.check.resolution),
            )
        )  # fmt: skip
        say(f"Too long (+) or too short (−) with each doubling of {bias}")
    for warning in result.warnings:
        say(f"WARNING: {warning}")


def _baselines(result: "LatencyTable") -> "Table":
    """The baselines of the spaces that are here by name: what a pass takes, and which operations take it."""
    from scalesearch.design.cost import cost
    from scalesearch.design.space import load_space, space_names

    rows = []
    for spec in (load_space(name).baseline for name in result.spaces if name in space_names()):
        shares = [show_percent(share, 0) for share in result.shares(spec).values()]
        sizes = (spec.resolution, show_count(cost(spec).macs), f"{result.network_ms(spec):.3g}")
        rows.append((spec.name, *sizes, *shares))
    columns = ("baseline", "px", "FLOPs", "ms", *SHARES)
    return table("What it says of the spaces' baselines, and which operations take the time", columns, rows,
                 optional=(*reversed(SHARES[1:]), "px"))  # fmt: skip


app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Tell how long networks take on a device: this machine, or a board.\n\nStart with: scalesearch device measure",
)
for name, options, shown in (
    ("measure", DeviceMeasureOptions, measure), ("show", DeviceShowOptions, show), ("probe", DeviceProbeOptions, probe),
):  # fmt: skip
    app.command(cls=Command)(command(name, options, shown, "json"))  # type: ignore[arg-type]
