"""Commands that only calculate: baseline, scale, family. They answer at once: nothing here imports torch, unless a time
or fvcore's count is asked for."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from scalesearch.cli import complete
from scalesearch.cli.options import MEMORY, NETWORK, OUTPUT
from scalesearch.cli.options import JsonOption as JsonOption
from scalesearch.cli.options import RunOption as RunOption
from scalesearch.errors import UserError

if TYPE_CHECKING:
    from scalesearch.api.scaling import Scaling
    from scalesearch.design.spec import NetSpec

SCALING = "Scaling"
SpaceOption = Annotated[
    str | None,
    typer.Option(
        help="A shipped space (efficientnet_b0, mbconv_small, mobilenet_v2, resnet50, …) or a file.",
        autocompletion=complete.spaces, rich_help_panel=NETWORK,
    ),
]  # fmt: skip
RoundingOption = Annotated[
    Literal["budget", "efficientnet"] | None,
    typer.Option(
        help="budget: rounded together to the real FLOPs. efficientnet: as the released family.",
        rich_help_panel=SCALING,
    ),
]
AlphaOption = Annotated[float | None, typer.Option(help="Depth factor per φ, at least 1.", rich_help_panel=SCALING)]
BetaOption = Annotated[float | None, typer.Option(help="Width factor per φ, at least 1.", rich_help_panel=SCALING)]
GammaOption = Annotated[
    float | None, typer.Option(help="Resolution factor per φ, at least 1.", rich_help_panel=SCALING)
]


def baseline(
    space: SpaceOption = None,
    target_flops: Annotated[
        str | None, typer.Option(help="Size to scale it to, such as 400M.", rich_help_panel=NETWORK)
    ] = None,
    classes: Annotated[
        int, typer.Option(min=1, max=1_000_000, help="Outputs of the classifier.", rich_help_panel=NETWORK)
    ] = 1000,
    fvcore: Annotated[
        bool, typer.Option("--fvcore", help="Build it and count with fvcore, too.", rich_help_panel=OUTPUT)
    ] = False,
    json: JsonOption = False,
) -> None:
    """Show the baseline network (φ = 0) and its FLOPs.

    Examples:

      scalesearch baseline

      scalesearch baseline --space mbconv_small --target-flops 10M
    """
    from scalesearch.cli.progress import detail, explain, say
    from scalesearch.cli.show import print_json, print_spec
    from scalesearch.design.cost import cost
    from scalesearch.design.scaling import size_baseline
    from scalesearch.design.space import load_space
    from scalesearch.units import parse_flops

    loaded = load_space("efficientnet_b0" if space is None else space)
    target = parse_flops(target_flops, "--target-flops") if target_flops else None
    spec = size_baseline(loaded, target, classes)
    counts = _fvcore(spec) if fvcore else {}
    detail(f"Digest {spec.digest}")
    if json:
        print_json({"spec": spec.to_dict(), **vars(cost(spec)), "digest": spec.digest, **counts})
        return
    print_spec(f"{spec.name}, φ = 0", spec)
    if counts:
        say(f"fvcore counts {counts['fvcore_macs']:,} in convolution and linear operators.")
        say(f"fvcore's .total(), with batch norm and pooling: {counts['fvcore_total']:,}.")
        say(f"Operators that fvcore does not count: {', '.join(counts['fvcore_uncounted']) or 'none'}.")
    size = f" --target-flops {target_flops}" if target_flops else ""
    explain(f"Next: scalesearch grid --space {loaded.name if space is None else space}{size} --data PATH")


def _fvcore(spec: "NetSpec") -> dict[str, Any]:
    from scalesearch.nets.count import fvcore_count

    count = fvcore_count(spec)
    return {"fvcore_macs": count.macs, "fvcore_total": count.total, "fvcore_uncounted": list(count.uncounted)}


def scale(
    phi: Annotated[
        float | None, typer.Option(help="Any real number; negative makes it smaller.", rich_help_panel=SCALING)
    ] = None,
    flops: Annotated[
        str | None, typer.Option(help="Solve for the φ that costs this, such as 1.8G.", rich_help_panel=SCALING)
    ] = None,
    latency: Annotated[
        str | None,
        typer.Option(help="Solve for the φ that takes this long here, such as 20ms.", rich_help_panel=SCALING),
    ] = None,
    run: RunOption = None,
    space: SpaceOption = None,
    alpha: AlphaOption = None,
    beta: BetaOption = None,
    gamma: GammaOption = None,
    rounding: RoundingOption = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images that --latency is for.", rich_help_panel=MEMORY)] = 1,
    device: Annotated[
        str, typer.Option(help="Where --latency is measured: auto, cpu, cuda.", rich_help_panel=MEMORY)
    ] = "auto",
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads for --latency; torch's own number.", rich_help_panel=MEMORY)
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where to write the network's spec (JSON).", rich_help_panel=OUTPUT)
    ] = None,
    json: JsonOption = False,
) -> None:
    """Show one member of the family; write its spec.

    Uses the coefficients that the newest search found; the paper's where nothing was searched, or those given.

    Examples:

      scalesearch scale --phi 3

      scalesearch scale --flops 1.8G

      scalesearch scale --latency 20ms --batch-size 8
    """
    from scalesearch.api.scaling import choose_scaling
    from scalesearch.cli.progress import detail, explain, say
    from scalesearch.cli.show import print_json, print_spec
    from scalesearch.design.family import member, member_row, write_spec
    from scalesearch.design.scaling import meet
    from scalesearch.units import parse_flops

    if sum(wanted is not None for wanted in (phi, flops, latency)) != 1:
        raise UserError(
            "scale", "none or several of --phi, --flops and --latency", "one", "Try: scalesearch scale --phi 3"
        )
    if out is not None and out.suffix != ".json":
        raise UserError("--out", str(out), "a name that ends in .json", "finetune --model takes such files.")
    chosen = choose_scaling(run, space, (alpha, beta, gamma), rounding)
    timed: dict[str, Any] = {}
    if latency is not None:
        phi, timed = _of_latency(chosen, latency, batch_size, device, threads)
    elif flops is not None:
        target = parse_flops(flops, "--flops")
        phi = round(meet(chosen.baseline, chosen.coefficients, target, chosen.rounding).phi, 4)
    assert phi is not None  # one of the three was given
    item = member(chosen.baseline, chosen.coefficients, phi, chosen.rounding)
    path = out or chosen.folder / f"{item.name}.json"
    detail(f"Digest {item.spec.digest}, rounding {chosen.rounding}")
    if json:
        values = {**member_row(item), "spec": item.spec.to_dict(), "file": str(path), "coefficients": chosen.origin}
        print_json({**values, **timed})
    else:
        explain(chosen.origin)
        print_spec(f"{item.name}, φ = {item.phi:g}: {item.ratio:.3g} × the baseline's FLOPs", item.spec)
        if timed:
            say(f"{timed['seconds'] * 1e3:.3g} ms ({timed['measured']})")
    write_spec(path, item.spec)
    if not json:
        say(f"Written: {path}")
        explain(f"Train it: scalesearch finetune --model {path} --data PATH")


def _of_latency(
    chosen: "Scaling", wanted: str, batch_size: int, device: str, threads: int | None
) -> tuple[float, dict[str, Any]]:
    """The φ whose member takes so long, and what was measured."""
    from scalesearch.api.scaling import timed_member
    from scalesearch.units import parse_duration

    seconds = parse_duration(wanted, "--latency", "a time such as 20ms or 0.1s")
    phi, found = timed_member(chosen, seconds, batch_size, device, threads)
    return phi, {"seconds": found.seconds, "batch_size": found.batch_size, "measured": str(found)}


def family(
    run: RunOption = None,
    space: SpaceOption = None,
    alpha: AlphaOption = None,
    beta: BetaOption = None,
    gamma: GammaOption = None,
    rounding: RoundingOption = None,
    published: Annotated[
        bool, typer.Option("--published", help="The space's released members instead.", rich_help_panel=SCALING)
    ] = False,
    json: JsonOption = False,
) -> None:
    """Show B0 to B6 (φ = 0 to 6); write their specs.

    The released EfficientNets were rounded by hand and are no φ of any formula: --published shows them.

    Examples:

      scalesearch family

      scalesearch family --space resnet50 --alpha 1.2 --beta 1.1 --gamma 1.15

      scalesearch family --published
    """
    from scalesearch.api.family import family_of
    from scalesearch.api.scaling import choose_scaling
    from scalesearch.cli.progress import explain, say
    from scalesearch.cli.show import print_json
    from scalesearch.design.family import member_row, write_spec

    if published:
        _published(space or "efficientnet_b0", json)
        return
    chosen = choose_scaling(run, space, (alpha, beta, gamma), rounding)
    items = family_of(chosen.baseline, chosen.coefficients, chosen.rounding, chosen.origin)
    for item in items:
        write_spec(chosen.folder / f"{item.name}.json", item.spec)
    rows = [member_row(item) for item in items]
    if json:
        print_json({"coefficients": chosen.origin, "members": rows})
        return
    explain(chosen.origin)
    _print_members(f"Family of {chosen.baseline.name}", rows)
    say(f"Written: {chosen.folder}/b0.json to b6.json")
    explain("Next: scalesearch finetune --model b1")


def _published(name: str, json: bool) -> None:
    from scalesearch.cli.progress import explain
    from scalesearch.cli.show import print_json
    from scalesearch.design.cost import cost
    from scalesearch.design.family import Member, member_row
    from scalesearch.design.scaling import published_spec
    from scalesearch.design.space import load_space

    space = load_space(name)
    if not space.published:
        raise UserError("--published", f"{name}, which lists none", "a space with released members: efficientnet_b0")
    base = cost(space.baseline).macs
    specs = [published_spec(space, item.name) for item in space.published]
    members = [
        Member(item.name, float("nan"), replace(spec, name=item.name), cost(spec).macs / base)
        for item, spec in zip(space.published, specs, strict=True)
    ]
    rows = [{**member_row(one), "phi": None} for one in members]
    if json:
        print_json({"coefficients": "released, rounded by hand", "members": rows})
        return
    _print_members(f"Released members of {name} (rounded by hand, no φ)", rows)
    explain(f"Next: scalesearch finetune --model {specs[0].name} --weights imagenet --data PATH")


def _print_members(title: str, rows: list[dict[str, Any]]) -> None:
    from scalesearch.api.family import COLUMNS, member_cells
    from scalesearch.cli.show import print_table

    print_table(title, COLUMNS, [member_cells(row) for row in rows])
