"""How a network's inheritance is shown."""

from scalesearch.cli.progress import explain, say
from scalesearch.cli.show import print_table
from scalesearch.nets.transfer_plan import TransferPlan, parts
from scalesearch.nets.weights import WeightSource

HOW = ("copied", "cut", "widened", "cut and widened", "fresh")
SHOWN = 4


def print_plan(source: WeightSource, plan: TransferPlan) -> None:
    """By parts of the network: how many tensors were copied, cut, widened or are fresh, and the share inherited."""
    rows = [[name, *(str(counts.get(how, "")) for how in HOW), f"{share:.0%}"] for name, counts, share in parts(plan)]
    print_table(f"Weights from {source.name} ({source.spec.name})", ("part", *HOW, "inherited"), rows, result=False)
    kept = (
        "the function is kept"
        if plan.preserved
        else (f"the function is not kept: {_few(plan.losses)}; the rest is fitted to it on your images before training")
    )
    explain(f"{plan.coverage:.0%} of the body's values are inherited; {kept}")
    unused = [name for name in plan.unused if not name.startswith("classifier.")]
    if unused:
        explain(f"{len(unused)} tensors of the source are not used: {_few(unused)}")


def print_whole_plan(plan: TransferPlan) -> None:
    """A row for every tensor of the target, and the source's tensors that are not used."""
    rows = [
        [
            row.name,
            row.how,
            row.source or "",
            _shape(row.source_shape),
            _shape(row.shape),
            f"{row.kept / row.values:.0%}",
        ]
        for row in plan.tensors
    ]
    print_table("Every tensor", ("tensor", "how", "from", "was", "is", "inherited"), rows)
    say(f"Not used: {', '.join(plan.unused) or 'nothing'}")


def _shape(sides: tuple[int, ...]) -> str:
    return "×".join(map(str, sides))


def _few(names: "tuple[str, ...] | list[str]") -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
