"""Families trained side by side: what is asked, which networks that comes to, the trainings, and what they show."""

import contextlib
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from scalesearch.api.design import Scaling
from scalesearch.api.options import FamilyOptions, images_of, inherited, path, room, seconds
from scalesearch.api.price import Price, priced
from scalesearch.api.search import (
    CPU_STEP,
    EMA_DECAY,
    GPU_STEP,
    Forecast,
    bounded,
    device_of,
    inheritance,
    start_from,
    timed,
    within_memory,
    workers_of,
)
from scalesearch.data.dataset import Dataset, dataset, open_data
from scalesearch.data.keeping import make_room
from scalesearch.design.cost import cost
from scalesearch.design.family import member, named_spec
from scalesearch.design.spec import NetSpec, TorchvisionSpec
from scalesearch.errors import UserError
from scalesearch.nets.sources import NEAREST, adopted, open_weights
from scalesearch.nets.torchvision_net import counted, network_of
from scalesearch.nets.torchvision_weights import torchvision_state
from scalesearch.running.carry_out import Listener
from scalesearch.running.families import FamilyAgenda, measure_latencies, recorded, train_families
from scalesearch.running.provenance import argument, provenance
from scalesearch.running.workers import Workers
from scalesearch.study.config import TrainConfig, validate
from scalesearch.study.family_plan import FOUND, MOST_RATES, Contender, FamilyPlan, member_trial, planned
from scalesearch.study.family_record import FAMILIES_FILE, TRAINED, FamilyRecord, read_family
from scalesearch.study.lineup import RIVALS, PublishedNetwork, contenders, scaled_specs
from scalesearch.study.outcomes import hits
from scalesearch.study.race import Results
from scalesearch.study.row import Inheritance, MemberRow
from scalesearch.study.verification import LARGEST_PHI
from scalesearch.training.device import threads_for
from scalesearch.training.memory import FLOAT, least_memory, require_memory
from scalesearch.training.probes import seconds_per_step
from scalesearch.training.recipe import BODY_RATIO

if TYPE_CHECKING:
    from scalesearch.study.family_answer import FamilyAnswer

CPU_EPOCHS, GPU_EPOCHS = 10, 20
RATE_STEPS = (0.5, 1.0, 2.0)  # times the usual learning rate: what is tried
TORCHVISION = "torchvision:"
# of the epochs, of a member that inherits from a smaller one: each costs half of the next, so a member with all that it
# goes back to costs what it would from scratch; on CIFAR-10 no worse (reports/LOG.md)
INHERITED_SHARE = 0.5
TIMED_STEPS = 5


@dataclass(frozen=True, eq=False)
class FamilyJob:
    """Families that could be trained: the plan, its agenda, images, where they are kept, within what, what they take.

    Args:
        assumed: of weights, in words.
    """

    asked: FamilyOptions
    agenda: FamilyAgenda
    data: str
    parts: Dataset
    workers: Workers
    price: Price
    folder: Path
    assumed: tuple[str, ...]
    time_budget: float | None
    began: float

    @property
    def plan(self) -> FamilyPlan:
        """What is trained."""
        return self.agenda.plan


@dataclass(frozen=True, eq=False)
class TrainedFamilies:
    """What families came to so far; ``record`` is everything that their folder says."""

    record: FamilyRecord

    @property
    def folder(self) -> Path:
        """Where they are kept: plan, predictions, trained networks, figures."""
        return self.record.folder

    @property
    def answer(self) -> "FamilyAnswer | None":
        """Accuracies, leads, points per doubling and crossings, with intervals; None before the first result."""
        from scalesearch.study.family_answer import compare

        return compare(self.record)

    def report(self) -> Path:
        """Writes page, text, tables and figures into the folder; the page."""
        from scalesearch.reports.families import write_families

        return write_families(self.folder, self.record)[-1]

    def _repr_html_(self) -> str:
        from scalesearch.reports.families import families_html

        return families_html(self.record)


def prepare(asked: FamilyOptions, scaling: Scaling) -> FamilyJob:
    """Lines the networks up, opens their weights and the images; trains nothing and writes nothing.

    Raises:
        UserError: an option that cannot be used.
    """
    began, budget = time.monotonic(), seconds(asked.time_budget, "--time-budget")
    phis, (families, named) = members(str(asked.train)), rivals(asked.against)
    where, threads = device_of(asked), max(1, int(asked.cpus_per_trial))
    workers = workers_of(asked, where, threads)
    given = images_of(asked, scaling.data)
    source = open_data(given, skip_broken=asked.skip_broken, follow_links=asked.follow_links)
    baseline, weights, assumed = start_from(asked, replace(scaling.baseline, classes=len(source.classes)))
    _require_room(asked, member(baseline, scaling.coefficients, phis[-1], scaling.rounding).spec, where)
    published, told = _published(asked, named, scaling, len(source.classes))
    specs = scaled_specs(baseline, scaling.coefficients, scaling.rounding, phis, families)
    lined = [spec for by_phi in specs.values() for spec in by_phi.values()]
    for one in published:
        try:
            scaling.coefficients.measure.of(one.spec)
        except UserError as error:
            raise UserError(f"--against {one.name}", error.problem, do="Leave it out.") from None
    largest = max(spec.resolution for spec in (*lined, *(one.spec for one in published)))
    parts = dataset(source, largest, asked.images)
    folder = (path(asked.out) or scaling.folder) / f"{TRAINED}{source.name}"
    plan = _plan(asked, scaling, specs, published, parts, weights, where, threads)
    if asked.equal == "time":
        plan = _equal_time(plan, folder)
    agenda = FamilyAgenda(plan, asked.seeds, argument(given))
    trials = [member_trial(plan, number, 0, 1) for number in range(len(plan.contenders))]
    validate(trials[0].train)
    workers = within_memory(workers, asked.jobs, where, trials)
    trainings = agenda.total(Results())
    kept = FLOAT * asked.seeds * sum(cost(one.spec).params for one in trials if isinstance(one.spec, NetSpec))
    parts, price = priced(
        parts, trials, trainings, folder, workers.jobs, room(asked.cache_size), ("train", "validation", "test"), kept
    )
    said = tuple(filter(None, (assumed, *told)))
    return FamilyJob(asked, agenda, given, parts, workers, price, folder, said, budget, began)


def _require_room(asked: FamilyOptions, largest: NetSpec, device: str) -> None:
    """Raises UserError where the largest member has no room in memory, before its rivals, which take as much, are
    worked out. A cluster's memory is not known."""
    if asked.executor == "processes":
        batch_size, lr = CPU_STEP if device == "cpu" else GPU_STEP
        train = TrainConfig(epochs=1, batch_size=asked.batch_size or batch_size, lr=lr, ema_decay=EMA_DECAY)
        do = "Train smaller members, or lower --batch-size."
        require_memory(least_memory(largest, train), f"--train {asked.train}", torch.device(device), do)


def members(named: str) -> tuple[int, ...]:
    """φ of the members that ``--train`` names: "b0..b3", or "b0,b2,b3".

    Raises UserError for what is neither, and for a family of one.
    """
    parts = [part.strip().lower() for part in named.replace("..", ",…,").split(",")]
    numbers = [part.removeprefix("b") for part in parts]
    do = "Give a range such as b0..b3, or members such as b0,b2."
    if not all((one.isdecimal() and len(one) < 3) or one == "…" for one in numbers):
        raise UserError("--train", f'"{named[:40]}" names no members.', do=do)
    phis: list[int] = []
    for place, one in enumerate(numbers):
        if one != "…":
            phis.append(int(one))
        elif place in (0, len(numbers) - 1) or "…" in (numbers[place - 1], numbers[place + 1]):
            raise UserError("--train", f'"{named[:40]}" has a range without an end.', do=do)
        else:
            phis += range(int(numbers[place - 1]) + 1, int(numbers[place + 1]))
    found = tuple(sorted(set(phis)))
    if found and found[-1] > LARGEST_PHI:
        problem = f"b{found[-1]} costs {2.0 ** found[-1]:,.0f} × b0's FLOPs; at most b{LARGEST_PHI} is trained."
        raise UserError("--train", problem, do=do)
    if len(found) < 2:
        raise UserError("--train", f'"{named[:40]}" is a family of {len(found)}, which makes no curve.', do=do)
    return found


def rivals(named: Sequence[str] | str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What ``--against`` names: families, and networks as they are; each once, in order."""
    listed = (part.strip() for text in ([named] if isinstance(named, str) else named) for part in text.split(","))
    names = tuple(dict.fromkeys(part for part in listed if part and part != "none"))
    return tuple(one for one in names if one in RIVALS), tuple(one for one in names if one not in RIVALS)


def _published(
    asked: FamilyOptions, named: Sequence[str], scaling: Scaling, classes: int
) -> tuple[list[PublishedNetwork], list[str]]:
    """Networks that stand beside the families as they are, and what was assumed of their weights."""
    common = inherited(asked.against_weights)
    own = inherited(asked.weights)
    if named and asked.against_weights is None and own is not None:
        if own != NEAREST and not Path(own).is_dir():
            problem = f"{', '.join(named)} would start from scratch beside members that start from {own}."
            raise UserError("--against-weights", problem, do="Give imagenet, a folder of their weights, or scratch.")
        common = own
    published: list[PublishedNetwork] = []
    told: list[str] = []
    for name in named:
        spec = _network(name, scaling, asked.against_resolution, classes)
        weights: Inheritance | None = None
        if common is not None and isinstance(spec, NetSpec):
            source = open_weights(common, spec)
            if source.spec.widths != spec.widths or source.spec.depths != spec.depths:
                problem = f"{source.name} holds no weights of {spec.name}, which stands there as it was published."
                raise UserError("--against-weights", problem, do="Bring its weights, or give scratch.")
            spec, weights = adopted(spec, source), inheritance(source)
            told.append(source.assumed and f"{spec.name}: {source.assumed}")
        elif common is not None and isinstance(spec, TorchvisionSpec):
            weights = inheritance(torchvision_state(spec, common))
        published.append(PublishedNetwork(_file_name(name), spec, weights))
    return published, told


def _file_name(name: str) -> str:
    """What a network that stands beside the families is called: its own name, or its file's."""
    own = name.removeprefix(TORCHVISION)
    return re.sub(r"[^\w-]", "_", Path(own).stem if own.endswith((".json", ".toml")) else own)[:40]


def _network(name: str, scaling: Scaling, resolution: int | None, classes: int) -> NetSpec | TorchvisionSpec:
    if name.startswith(TORCHVISION):
        return counted(name.removeprefix(TORCHVISION), resolution, classes)
    try:
        spec = named_spec(name, scaling.baseline, scaling.coefficients, scaling.rounding)
    except UserError as error:
        raise UserError(f"--against {name}", error.problem, do=error.do or "") from None
    return replace(spec, classes=classes, resolution=resolution or spec.resolution)


def _rates(asked: FamilyOptions, usual: float) -> tuple[float, ...]:
    """The learning rates that are tried, rising. Raises UserError for what is none."""
    if asked.lr is None:
        return tuple(usual * step for step in RATE_STEPS)
    try:
        rates = sorted({float(part) for part in asked.lr.split(",")})
    except ValueError:
        rates = []
    if not 0 < len(rates) <= MOST_RATES or not all(0 < rate < 1000 for rate in rates):
        raise UserError("--lr", f'"{asked.lr}" is not one or up to {MOST_RATES} learning rates, by commas.')
    return tuple(rates)


def _plan(
    asked: FamilyOptions, scaling: Scaling, specs: dict[str, dict[int, NetSpec]],
    published: Sequence[PublishedNetwork], parts: Dataset, weights: Inheritance | None, device: str, threads: int,
) -> FamilyPlan:  # fmt: skip
    on_cpu = device == "cpu"
    batch_size, usual = CPU_STEP if on_cpu else GPU_STEP
    epochs = asked.epochs or (CPU_EPOCHS if on_cpu else GPU_EPOCHS)
    later = None
    if asked.inherit == "smaller" or (asked.inherit == "auto" and weights is None):
        later = asked.inherited_epochs or max(1, round(INHERITED_SHARE * epochs))
    elif asked.inherited_epochs is not None:
        raise UserError("--inherited-epochs", "no member inherits from a smaller one.", do="Give --inherit smaller.")
    started = weights is not None or any(one.weights for one in published)
    train = TrainConfig(
        epochs=epochs, batch_size=asked.batch_size or batch_size, lr=usual, warmup_epochs=min(1.0, epochs / 4),
        ema_decay=EMA_DECAY, seed=asked.seed, body_lr_ratio=BODY_RATIO if started else 1.0,
    )  # fmt: skip
    test = parts.source.labels[parts.test.indices]
    return FamilyPlan(
        space=scaling.baseline.name, origin=scaling.origin, searched=scaling.searched,
        families=(*specs, *(one.name for one in published)),
        contenders=contenders(specs, published, epochs, later, weights), rates=_rates(asked, usual),
        equal=asked.equal, train=train, data=parts.source.name, data_digest=parts.digest, images=len(parts.train),
        validation=len(parts.validation), test=len(test), classes=len(parts.classes),
        majority=float(np.bincount(test).max() / len(test)), device=device, threads=threads if on_cpu else 1,
        measure=scaling.coefficients.measure,
    )  # fmt: skip


def _equal_time(plan: FamilyPlan, folder: Path) -> FamilyPlan:
    """The plan with as many epochs for each network as take the time of the found member at its φ, or for a published
    network of the member nearest in cost.

    What a folder was planned with stays: another measurement would make it another plan.
    """
    if (folder / FAMILIES_FILE).exists():
        there = read_family(folder).plan
        if len(there.contenders) == len(plan.contenders):
            epochs = [one.epochs for one in there.contenders]
            pairs = zip(plan.contenders, epochs, strict=True)
            return replace(plan, contenders=tuple(replace(one, epochs=count) for one, count in pairs))
    device = torch.device(plan.device)
    with threads_for(device, plan.threads):
        took = [_step_seconds(one, plan, device) for one in plan.contenders]
    own, costs = plan.curve(FOUND), [plan.measure.of(one.spec) for one in plan.contenders]
    at = {plan.phi(number, FOUND): number for number in own}
    lined = []
    for (one, its), size in zip(zip(plan.contenders, took, strict=True), costs, strict=True):
        like = at.get(one.places[0].phi, min(own, key=lambda n: abs(np.log(costs[n] / size))))
        lined.append(replace(one, epochs=max(1, round(one.epochs * took[like] / its))))
    return replace(plan, contenders=tuple(lined))


def _step_seconds(one: Contender, plan: FamilyPlan, device: torch.device) -> float:
    network = network_of(one.spec, seed=0)
    batch = plan.train.batch_size
    return seconds_per_step(network, one.spec.resolution, batch, device, steps=TIMED_STEPS, config=plan.train)


def forecast(job: FamilyJob) -> Forecast:
    """What was trained before, what is left and how long that takes, by timing a few steps."""
    before, results = recorded(job.folder, job.plan, job.asked.storage), Results()
    for one in before:
        results.add(one.row.key, *(hits(one) or (None,)))
    left = [one for one, _ in planned(job.plan, job.asked.seeds, results) if one.key not in results]
    return timed(job, [one.row for one in before], [[(one, one.until) for one in left]], job.plan.test)


def run(job: FamilyJob, listener: Listener[MemberRow], expected: Forecast | None = None) -> TrainedFamilies:
    """Trains what is left, and draws what came out; run again, it continues.

    Args:
        expected: of ``forecast``, so that nothing is begun that would not end within the time budget.
    """
    within, told = bounded(job, listener, expected)
    make_room(job.price.keeping)
    facts = {
        **provenance(job.plan.device), "data_argument": argument(job.data),
        "source_digest": job.parts.source.digest,
    }  # fmt: skip
    try:
        train_families(job.folder, job.agenda, job.parts, facts, job.workers, told, within, job.asked.storage)
        if job.time_budget is None or time.monotonic() < job.began + job.time_budget:
            measure_latencies(job.folder, job.plan, listener.note)
    except BaseException:
        with contextlib.suppress(UserError):  # what is done is drawn, whatever ended the rest
            drawn(job.folder)
        raise
    return drawn(job.folder)


def drawn(folder: Path) -> TrainedFamilies:
    """What families came to so far, with page and figures brought up to date."""
    families = TrainedFamilies(read_family(folder))
    families.report()
    return families
