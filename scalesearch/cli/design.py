"""Commands that only calculate: baseline, scale, family. They answer at once: nothing here imports torch, unless a time
or fvcore's count is asked for."""

from typing import Any

from scalesearch.api import design as designs
from scalesearch.api.design import member_of
from scalesearch.api.options import BaselineOptions, FamilyOptions, ScaleOptions, budget_of
from scalesearch.cli.commands import Terminal
from scalesearch.cli.shell import console, detail, explain, of_run, print_json, say, show
from scalesearch.design.cost import cost, part_table
from scalesearch.design.family import member_row
from scalesearch.design.measure import Measure
from scalesearch.design.scaling import published_name
from scalesearch.design.space import load_space
from scalesearch.design.spec import NetSpec
from scalesearch.errors import pasted
from scalesearch.units import show_count

FAR = 2.0**7  # times the baseline's FLOPs: where the released family ends


def baseline(asked: BaselineOptions, terminal: Terminal) -> None:
    """Show the baseline network (φ = 0) and its FLOPs.

    Examples:

      scalesearch baseline

      scalesearch baseline --space mbconv_small --target-flops 10M
    """
    spec = designs.baseline(**vars(asked))
    counts: dict[str, Any] = {}
    if terminal.fvcore:
        from scalesearch.nets.measure import fvcore_count

        count = fvcore_count(spec)
        counts = {"fvcore_macs": count.macs, "fvcore_total": count.total, "fvcore_uncounted": list(count.uncounted)}
    detail(f"Digest {spec.digest}")
    if terminal.json:
        print_json({"spec": spec.to_dict(), **vars(cost(spec)), "digest": spec.digest, **counts})
        return
    _print_spec(f"{spec.name}, φ = 0", spec, budget_of(asked).measure)
    if counts:
        say(f"fvcore counts {counts['fvcore_macs']:,} in convolution and linear operators.")
        say(f"fvcore's .total(), with batch norm and pooling: {counts['fvcore_total']:,}.")
        say(f"Operators that fvcore does not count: {', '.join(counts['fvcore_uncounted']) or 'none'}.")
    named = {"--budget": asked.budget if asked.budget != "flops" else None, "--target-flops": asked.target_flops,
             "--target": asked.target, "--runtime": asked.runtime,
             "--device-table": asked.device_table}  # fmt: skip
    size = [word for name, value in named.items() if value for word in (name, value)]
    if (asked.target_flops or asked.target) and asked.classes is None:
        explain(
            f"Note: a search sizes it with as many outputs as your images have classes, not {spec.classes}, so its "
            "pixels may differ; --classes shows them."
        )
    explain(f"Next: {pasted('scalesearch', 'grid', '--space', asked.space, *size, '--data', 'PATH')}")


def scale(asked: ScaleOptions, terminal: Terminal) -> None:
    """Show one member of the family; write its spec.

    It uses the coefficients of the newest search, those of the paper where nothing was searched, or those given.

    Examples:

      scalesearch scale --phi 3

      scalesearch scale --flops 1.8G

      scalesearch scale --latency 20ms --batch-size 8
    """
    result = member_of(asked)
    item, timing = result.member, result.latency
    before = result.write()
    detail(f"Digest {item.spec.digest}, rounding {result.scaling.rounding}")
    if terminal.json:
        timed = {} if timing is None else {
            "seconds": timing.seconds, "batch_size": timing.batch_size, "measured": str(timing)
        }  # fmt: skip
        values = {**member_row(item), "spec": item.spec.to_dict(), "file": str(result.file)}
        print_json({**values, "coefficients": result.scaling.origin, **timed})
    else:
        explain(result.scaling.origin)
        title = f"{item.name}, φ = {item.phi:g}: {item.ratio:.3g} × the baseline's {item.measure.noun}"
        _print_spec(title, item.spec, item.measure)
        if item.ratio > FAR:
            explain(
                f"Note: this is {item.ratio:,.0f} × the baseline's {item.measure.noun}. The released family ends at "
                "φ = 7, 128 ×; whether coefficients hold so far from the size that they were found at is not known. A "
                "larger baseline (--target-flops) comes to this size with a smaller φ."
            )
        if timing is not None:
            say(f"{timing.seconds * 1e3:.3g} ms ({timing})")
    if not terminal.json:
        say(f"Written: {result.file}{_instead(before)}")
        data = of_run(asked.run) if result.scaling.data else ["--data", "PATH"]
        explain(f"Train it: {pasted('scalesearch', 'finetune', '--model', result.file, *data)}")


def family(asked: FamilyOptions, terminal: Terminal) -> None:
    """Show B0 to B6 (φ = 0 to 6) and write their specs; or train some, and others beside them at equal cost.

    With --train the found members are trained, and beside them families of the paper's coefficients and of each single
    dimension at the same FLOPs (or whatever cost the coefficients were searched at), and published networks as they
    are, all by one recipe on the same images. Accuracy on test images against that cost is drawn, with what the search
    brought. Run it again to continue.

    The released EfficientNets were rounded by hand and are no φ of any formula: --published shows them.

    Examples:

      scalesearch family

      scalesearch family --space resnet50 --alpha 1.2 --beta 1.1 --gamma 1.15

      scalesearch family --published

      scalesearch family --train b0..b3 --data path/to/images
    """
    if asked.train is not None:
        from scalesearch.cli.families import train_families

        train_families(asked, terminal)
        return
    result = designs.family(**vars(asked))
    before = "" if asked.published else result.write()
    if terminal.json:
        print_json({"coefficients": result.origin, "members": result.rows()})
        return
    from scalesearch.reports import tables

    if asked.published:
        show(tables.family(result.members, caption=f"Released members of {result.name} (rounded by hand, no φ)"))
        first = published_name(load_space(result.name), result.members[0].name)
        explain(f"Next: scalesearch finetune --model {first} --weights imagenet --data PATH")
        return
    explain(result.origin)
    show(tables.family(result.members, caption=f"Family of {result.name}"))
    say(f"Written: {result.folder}/b0.json to b{len(result) - 1}.json{_instead(before)}")
    searched = asked.space is None and asked.alpha is None and asked.rounding is None
    model = ["b1", *of_run(asked.run)] if searched else [result.folder / "b1.json", "--data", "PATH"]
    explain(f"Next: {pasted('scalesearch', 'finetune', '--model', *model)}")


def _instead(before: str) -> str:
    return f", instead of what this search gave before: {before}" if before else ""


def _print_spec(title: str, spec: NetSpec, measure: Measure) -> None:
    """A network's parts and totals, and its cost where that is none of these."""
    sizes = cost(spec)
    show(part_table(spec, title))
    console().print(
        f"{spec.resolution} px, {spec.classes} classes: [bold]{show_count(sizes.macs)}[/] FLOPs "
        f"({sizes.macs:,} multiply-adds of convolution and linear operators), {show_count(sizes.params)} parameters, "
        f"{show_count(sizes.activations)} activations"
    )
    if measure.source:
        say(f"{measure.noun.capitalize()}: {measure.show(measure.of(spec))}, {measure.source}")
