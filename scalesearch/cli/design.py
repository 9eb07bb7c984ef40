"""Commands that only calculate: baseline, scale, family. They answer at once: nothing here imports torch."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from scalesearch.errors import UserError

if TYPE_CHECKING:
    from scalesearch.design.spec import NetSpec

RunOption = Annotated[
    Path | None, typer.Option("--run", help="Folder of a search; the newest under runs/ if left out.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
SpaceOption = Annotated[
    str | None,
    typer.Option(help="A shipped space (efficientnet_b0, mbconv_small, mobilenet_v2, resnet50, …) or a file."),
]
RoundingOption = Annotated[
    Literal["budget", "efficientnet"] | None,
    typer.Option(help="budget: rounded together to the real FLOPs. efficientnet: as the released family."),
]
AlphaOption = Annotated[float | None, typer.Option(help="Depth factor per φ, at least 1.")]
BetaOption = Annotated[float | None, typer.Option(help="Width factor per φ, at least 1.")]
GammaOption = Annotated[float | None, typer.Option(help="Resolution factor per φ, at least 1.")]


def baseline(
    space: SpaceOption = None,
    target_flops: Annotated[str | None, typer.Option(help="Size to scale it to, such as 400M.")] = None,
    classes: Annotated[int, typer.Option(min=1, max=1_000_000, help="Outputs of the classifier.")] = 1000,
    fvcore: Annotated[bool, typer.Option("--fvcore", help="Build it and count with fvcore, too.")] = False,
    json: JsonOption = False,
) -> None:
    """Show the baseline network (φ = 0) and its FLOPs.

    Example: scalesearch baseline --space mbconv_small --target-flops 10M
    """
    from scalesearch.cli.show import print_json, print_spec
    from scalesearch.cli.units import parse_flops
    from scalesearch.design.cost import cost
    from scalesearch.design.sizing import size_baseline
    from scalesearch.design.space import load_space

    loaded = load_space("efficientnet_b0" if space is None else space)
    target = parse_flops(target_flops, "--target-flops") if target_flops else None
    spec = size_baseline(loaded, target, classes)
    counts = _fvcore(spec) if fvcore else {}
    if json:
        print_json({"spec": spec.to_dict(), **vars(cost(spec)), "digest": spec.digest, **counts})
        return
    print_spec(f"{spec.name}, φ = 0", spec)
    if counts:
        print(f"fvcore counts {counts['fvcore_macs']:,} in convolution and linear operators.")
        print(f"fvcore's .total(), with batch norm and pooling: {counts['fvcore_total']:,}.")
        print(f"Operators that fvcore does not count: {', '.join(counts['fvcore_uncounted']) or 'none'}.")


def _fvcore(spec: "NetSpec") -> dict[str, Any]:
    from scalesearch.nets.count import fvcore_count

    count = fvcore_count(spec)
    return {"fvcore_macs": count.macs, "fvcore_total": count.total, "fvcore_uncounted": list(count.uncounted)}


def scale(
    phi: Annotated[float | None, typer.Option(help="Any real number; negative makes it smaller.")] = None,
    flops: Annotated[str | None, typer.Option(help="Solve for the φ that costs this, such as 1.8G.")] = None,
    run: RunOption = None,
    space: SpaceOption = None,
    alpha: AlphaOption = None,
    beta: BetaOption = None,
    gamma: GammaOption = None,
    rounding: RoundingOption = None,
    out: Annotated[Path | None, typer.Option(help="Where to write the network's spec (JSON).")] = None,
    json: JsonOption = False,
) -> None:
    """Show one member of the family; write its spec.

    Uses the coefficients that the newest search found; the paper's where nothing was searched, or those given.

    Example: scalesearch scale --phi 3
    """
    from scalesearch.cli.show import print_json, print_spec
    from scalesearch.cli.source import choose_scaling
    from scalesearch.cli.units import parse_flops
    from scalesearch.design.sizing import meet
    from scalesearch.search.family import member, member_row, write_spec

    if (phi is None) == (flops is None):
        raise UserError("scale", "both or neither of --phi and --flops", "one", "Try: scalesearch scale --phi 3")
    chosen = choose_scaling(run, space, (alpha, beta, gamma), rounding)
    if flops is not None:
        target = parse_flops(flops, "--flops")
        phi = round(meet(chosen.baseline, chosen.coefficients, target, chosen.rounding).phi, 4)
    assert phi is not None  # one of the two was given
    item = member(chosen.baseline, chosen.coefficients, phi, chosen.rounding)
    path = out or chosen.folder / f"{item.name}.json"
    if json:
        print_json({**member_row(item), "spec": item.spec.to_dict(), "file": str(path), "coefficients": chosen.origin})
    else:
        print(chosen.origin)
        print_spec(f"{item.name}, φ = {item.phi:g}: {item.ratio:.3g} × the baseline's FLOPs", item.spec)
    write_spec(path, item.spec)
    if not json:
        print(f"Written to {path}. Train it: scalesearch finetune --model {path} --data PATH")


def family(
    run: RunOption = None,
    space: SpaceOption = None,
    alpha: AlphaOption = None,
    beta: BetaOption = None,
    gamma: GammaOption = None,
    rounding: RoundingOption = None,
    published: Annotated[bool, typer.Option("--published", help="The space's released members instead.")] = False,
    json: JsonOption = False,
) -> None:
    """Show B0 to B6 (φ = 0 to 6); write their specs.

    The released EfficientNets were rounded by hand and are no φ of any formula: --published shows them.
    """
    from scalesearch.cli.show import print_json
    from scalesearch.cli.source import choose_scaling
    from scalesearch.search.family import family as members
    from scalesearch.search.family import member_row, write_spec

    if published:
        _published(space or "efficientnet_b0", json)
        return
    chosen = choose_scaling(run, space, (alpha, beta, gamma), rounding)
    items = members(chosen.baseline, chosen.coefficients, chosen.rounding)
    for item in items:
        write_spec(chosen.folder / f"{item.name}.json", item.spec)
    rows = [member_row(item) for item in items]
    if json:
        print_json({"coefficients": chosen.origin, "members": rows})
        return
    print(chosen.origin)
    _print_members(f"Family of {chosen.baseline.name}", rows)
    print(f"Specs written to {chosen.folder}/. Next: scalesearch finetune --model b1")


def _published(name: str, json: bool) -> None:
    from scalesearch.cli.show import print_json
    from scalesearch.design.cost import cost
    from scalesearch.design.scaling import published_spec
    from scalesearch.design.space import load_space
    from scalesearch.search.family import Member, member_row

    space = load_space(name)
    if not space.published:
        raise UserError("--published", f"{name}, which lists none", "a space with released members: efficientnet_b0")
    base = cost(space.baseline).macs
    specs = [replace(published_spec(space, item.name), name=item.name) for item in space.published]
    rows = [member_row(Member(spec.name, float("nan"), spec, cost(spec).macs / base)) for spec in specs]
    for row in rows:
        row["phi"] = None
    if json:
        print_json({"coefficients": "released, rounded by hand", "members": rows})
        return
    _print_members(f"Released members of {name} (rounded by hand, no φ)", rows)


def _print_members(title: str, rows: list[dict[str, object]]) -> None:
    from scalesearch.cli.show import print_table
    from scalesearch.cli.units import show_count

    def numbers(values: object) -> str:
        return " ".join(map(str, values))  # type: ignore[call-overload]

    print_table(
        title,
        ("name", "φ", "px", "FLOPs", "× B0", "params", "depths", "widths"),
        [
            [str(row["name"]), "–" if row["phi"] is None else f"{row['phi']:g}", str(row["resolution"]),
             show_count(float(str(row["macs"]))), f"{row['ratio']:.2f}", show_count(float(str(row["params"]))),
             numbers(row["depths"]), numbers(row["widths"])]
            for row in rows
        ],
    )  # fmt: skip
