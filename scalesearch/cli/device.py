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
from scalesearch.units import show_bytes, show_percent

if TYPE_CHECKING:
    from scalesearch.design.latency import Kind, LatencyTable
TOLD = 0.1  # of the networks: a line each, where there is no bar


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
    show_table(table("What it says of the spaces' own baselines", *_baselines(result)))
    show_table(table("What operations take", *_operations(result)))


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


def _baselines(result: "LatencyTable") -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
    """The spaces' baselines and their times; those whose file is not here any more are left out."""
    from scalesearch.design.cost import cost
    from scalesearch.design.space import load_space, space_names
    from scalesearch.units import show_count

    rows: list[tuple[object, ...]] = []
    for name in result.spaces:
        if name in space_names():
            spec = load_space(name).baseline
            rows.append((name, spec.resolution, show_count(cost(spec).macs), f"{result.network_ms(spec):.3g}"))
    return ("network", "px", "FLOPs", "ms"), rows


def _operations(result: "LatencyTable") -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
    """Each kind of operation, and what one call and a thousand of each amount take."""
    from scalesearch.design.latency import AMOUNTS

    shown = ("calls", "macs", "filled", "weights", "pixels", "reads", "writes")
    places = [AMOUNTS.index(name) for name in shown]
    scales = [1e3 if name == "calls" else 1e6 for name in shown]  # µs, and of a thousand

    def cells(kind: "Kind") -> list[str]:
        rates = [scale * kind.ms[place] for scale, place in zip(scales, places, strict=True)]
        return [f"{rate:.2g}" if rate else "" for rate in rates]

    rows: list[tuple[object, ...]] = [(kind.name, *cells(kind)) for kind in result.kinds]
    heads = ("multiply-adds", "filled up", "weights", "pixels", "read", "written")
    return ("operation", "µs a call", *(f"µs per 1000 {head}" for head in heads)), rows


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
