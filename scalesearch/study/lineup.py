"""Which networks families trained side by side are made of: members at equal real FLOPs, and published networks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from scalesearch.design.budget import aim, round_to_budget
from scalesearch.design.controls import controls, met
from scalesearch.design.family import member, regularised
from scalesearch.design.scaling import PAPER, Coefficients, Rounding, check_buildable
from scalesearch.design.spec import DIMENSIONS, NetSpec, TorchvisionSpec, reshape, shape_of
from scalesearch.errors import UserError
from scalesearch.study.family_plan import FOUND, Contender, Place
from scalesearch.study.family_plan import PAPER as PAPER_FAMILY
from scalesearch.study.row import Inheritance

UNEQUAL = 0.15  # of the found member's cost: what is farther from it is no comparison at equal cost
RIVALS = (PAPER_FAMILY, *DIMENSIONS)


@dataclass(frozen=True)
class PublishedNetwork:
    """A published network as it is, and the weights that it starts from; None: from scratch."""

    name: str
    spec: NetSpec | TorchvisionSpec
    weights: Inheritance | None = None


def scaled_specs(
    baseline: NetSpec, found: Coefficients, rounding: Rounding, phis: Sequence[int], families: Sequence[str]
) -> dict[str, dict[int, NetSpec]]:
    """The networks of each family by φ, with dropout by φ; the found family's come first.

    At each φ all come as near to the found member's cost as their steps allow. φ = 0 is the baseline.

    Raises:
        UserError: a network too large to build, or a dimension that cannot be grown so far.
    """
    own = {phi: member(baseline, found, phi, rounding).spec for phi in phis}
    specs = {FOUND: own}
    for family in families:
        specs[family] = {phi: _at(baseline, found, family, phi, own[phi]) for phi in phis}
    return {family: {phi: regularised(spec, phi) for phi, spec in by_phi.items()} for family, by_phi in specs.items()}


def _at(baseline: NetSpec, found: Coefficients, family: str, phi: int, own: NetSpec) -> NetSpec:
    """A rival's network at φ, of the cost of the found family's ``own``."""
    measure = found.measure
    target = measure.of(own)
    if phi == 0:
        return baseline
    if family == found.axis:
        return own
    if family == PAPER_FAMILY:
        if (found.alpha, found.beta, found.gamma) == (PAPER.alpha, PAPER.beta, PAPER.gamma):
            return own
        aimed = aim(baseline, (PAPER.alpha**phi, PAPER.beta**phi, PAPER.gamma**phi), target, measure)
        (rounded,) = round_to_budget(baseline, [aimed], measure)
        spec = reshape(baseline, met(baseline, rounded.shape, target, measure))
    else:
        shapes = {control.dimension: control.shape for control in controls(baseline, target, measure)}
        spec = reshape(baseline, shapes[family]) if family in shapes else baseline
        if abs(measure.of(spec) / target - 1) > UNEQUAL:
            ratio = f"{target / measure.of(baseline):.3g} × the {measure.noun}"
            problem = f"{family} alone cannot be grown to φ = {phi}, {ratio}."
            raise UserError(f"--against {family}", problem, do="Leave it out, or train smaller members.")
    check_buildable(spec, f"--against {family}")
    return own if shape_of(spec) == shape_of(own) else spec


def contenders(
    specs: Mapping[str, Mapping[int, NetSpec]], published: Sequence[PublishedNetwork], epochs: int,
    inherited_epochs: int | None, weights: Inheritance | None,
) -> tuple[Contender, ...]:  # fmt: skip
    """The networks to train, each once, parents first: by φ, at each φ by family; then the published ones.

    Args:
        specs: of ``scaled_specs``.
        epochs: of a network that starts from scratch or from weights.
        inherited_epochs: of one that inherits from the next smaller member of its family; None: none inherits.
        weights: what members start from that inherit from no other; None: from scratch.

    Raises:
        UserError: a published network of a name that is taken: names are those of files and curves.
    """
    lined: list[Contender] = []
    last: dict[str, int] = {}  # of each family, the number of its largest contender so far
    owner: dict[str, int] = {}  # and of the one that chooses its learning rate
    phis = sorted(next(iter(specs.values())))
    for phi in phis:
        for family, by_phi in specs.items():
            spec, place, parent = by_phi[phi], Place(family, float(phi)), last.get(family)
            parent = None if inherited_epochs is None else parent
            tuned_by = owner.get(family)
            same = next((i for i, one in enumerate(lined) if one.parent == parent and one.spec.digest == spec.digest
                         and (tuned_by in (None, one.tuned_by))), None)  # fmt: skip
            if same is None:
                number = len(lined)
                name = f"b{phi}" if family == FOUND or phi == 0 else f"{family}-b{phi}"
                lined.append(Contender(
                    name, (place,), replace(spec, name=name), parent, number if tuned_by is None else tuned_by,
                    epochs if parent is None or inherited_epochs is None else inherited_epochs,
                    weights if parent is None else None,
                ))  # fmt: skip
            else:
                number = same
                lined[same] = replace(lined[same], places=(*lined[same].places, place))
            last[family] = number
            if phi != 0:
                owner.setdefault(family, lined[number].tuned_by)
    for one in published:
        if one.name in {*specs, *RIVALS, *(other.name for other in lined)}:
            do = "Name its file otherwise, or name it once."
            raise UserError("--against", f'two networks or families would be called "{one.name}".', do=do)
        alone = (Place(one.name, None),)
        lined.append(Contender(one.name, alone, one.spec, None, len(lined), epochs, one.weights))
    return tuple(lined)
