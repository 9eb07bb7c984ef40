"""The command that trains one network, and how its inheritance is shown."""

import shlex
from dataclasses import asdict
from typing import TYPE_CHECKING

from scalesearch.api.finetune import (
    FinetuneJob,
    FinetuneOptions,
    find_lr,
    prepare,
    run,
    transfer_plan,
)
from scalesearch.cli.commands import Terminal
from scalesearch.cli.shell import Bar, EpochProgress, detail, explain, interruptible, print_json, say, show
from scalesearch.cli.use import print_accuracy
from scalesearch.design.cost import cost
from scalesearch.training.history import Watcher
from scalesearch.units import show_count

if TYPE_CHECKING:
    import torch

    from scalesearch.nets.transfer_plan import TransferPlan
    from scalesearch.nets.weights import WeightSource

HOW = ("copied", "cut", "widened", "cut and widened", "fresh")
SHOWN = 4


def finetune(asked: FinetuneOptions, terminal: Terminal) -> None:
    """Train one member, from scratch or from the weights of another network; judge it on the test images.

    Run it again to continue where it was interrupted. On several GPUs: torchrun --nproc-per-node N -m scalesearch
    finetune, with the same options; --batch-size is that of all of them together.

    Examples:

      scalesearch finetune --model b1 --data path/to/images

      scalesearch finetune --model b1 --weights imagenet --data path/to/images --strategy gradual

      scalesearch finetune --model efficientnet_b3 --weights imagenet --accumulate 4 --find-lr
    """
    from scalesearch.training.device import choose_device
    from scalesearch.training.distributed import joined

    with interruptible(), joined(choose_device(asked.device)) as where:
        if terminal.plan:
            plan = transfer_plan(asked)
            print_json(plan.to_dict()) if terminal.json else _print_whole_plan(plan)
            return
        job = prepare(asked)
        if not terminal.json:
            _introduce(job)
        if terminal.find_lr:
            _find_lr(job, where, terminal.json)
        else:
            _train(job, where, terminal.json)


def _introduce(job: FinetuneJob) -> None:
    """What will be trained on what, and how."""
    spec, parts, images, choice = job.spec, job.parts, job.parts.source, job.choice
    for note in images.notes:
        explain(f"Note: {note}")
    explain(job.scaling.origin)
    sizes = cost(spec)
    explain(f"{spec.name}: {spec.resolution} px, {show_count(sizes.macs)} FLOPs, {show_count(sizes.params)} parameters")
    counts = f"{len(parts.train)} train, {len(parts.validation)} validation, {len(parts.test)} test images"
    explain(f"{images.name}: {len(parts.classes)} classes, {counts}")
    if job.source is not None and job.plan is not None:
        _print_plan(job.source, job.plan)
    explain(f"Strategy: {choice.strategy}" + (f" ({choice.why})" if choice.why else ""))
    detail(f"Network {spec.digest}, images {parts.digest}, folder {job.folder}")
    detail(f"Training: {job.recipe}")


def _train(job: FinetuneJob, where: "torch.device", json: bool) -> None:
    """Trains, and says where the model is."""
    from scalesearch.training.distributed import ranks

    epochs, steps = job.recipe.config.epochs, job.steps
    with Bar(epochs * steps, 0, quiet=json or not ranks().first) as bar:
        progress = EpochProgress(bar, epochs, steps)
        watcher = Watcher(reading=bar.reading, step=progress.step, epoch=progress.epoch, note=bar.note)
        result = run(job, where, watcher)
    if json:
        print_json({**result.metrics, "file": str(result.file)})
        return
    print_accuracy(result.metrics["test"])
    say(f"Model: {result.file}")
    explain(f"Read it back: scalesearch evaluate {result.file} --data {shlex.quote(job.data)}")
    explain(f"Use it: scalesearch predict {result.file} IMAGES")


def _find_lr(job: FinetuneJob, where: "torch.device", json: bool) -> None:
    """Raises the learning rate step by step, draws the loss and says which rate suits."""
    if not json:
        explain("Raising the learning rate for up to 100 steps; as long as 100 steps of training take")
    with Bar(0, 0, quiet=json) as bar:
        curve, figure = find_lr(job, where, bar.reading)
    if json:
        print_json({**asdict(curve), "figure": str(figure)})
        return
    say(f"Suggested: --lr {curve.suggestion:g} (a tenth of the rate with the lowest loss, {len(curve.lrs)} steps)")
    say(f"Figure: {figure}")


def _print_plan(source: "WeightSource", plan: "TransferPlan") -> None:
    """By parts of the network: how many tensors were copied, cut, widened or are fresh, and the share inherited."""
    show(plan.table(f"Weights from {source.name} ({source.spec.name})"), result=False)
    kept = (
        "the function is kept"
        if plan.preserved
        else (f"the function is not kept: {_few(plan.losses)}; the rest is fitted to it on your images before training")
    )
    explain(f"{plan.coverage:.0%} of the body's values are inherited; {kept}")
    unused = [name for name in plan.unused if not name.startswith("classifier.")]
    if unused:
        explain(f"{len(unused)} tensors of the source are not used: {_few(unused)}")


def _print_whole_plan(plan: "TransferPlan") -> None:
    """A row for every tensor of the target, and the source's tensors that are not used."""
    from scalesearch.reports import tables

    show(tables.inherited_tensors(plan))
    say(f"Not used: {', '.join(plan.unused) or 'nothing'}")


def _few(names: "tuple[str, ...] | list[str]") -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
