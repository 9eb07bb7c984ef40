"""Commands that train one network and use it: finetune, evaluate, predict, export."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from scalesearch.api.options import EvaluateOptions, ExportOptions, FinetuneOptions, PredictOptions
from scalesearch.cli.commands import Terminal
from scalesearch.cli.shell import (
    Bar,
    EpochProgress,
    detail,
    explain,
    explain_next,
    introduce_images,
    print_json,
    reading_bar,
    say,
    show,
    show_rows,
)
from scalesearch.design.cost import cost
from scalesearch.design.family import phi_of
from scalesearch.errors import UserError, pasted
from scalesearch.training.history import Watcher
from scalesearch.units import counted, show_count, show_interval, show_percent

if TYPE_CHECKING:
    import torch

    from scalesearch.api.finetune import FinetuneJob
    from scalesearch.design.spec import NetSpec
    from scalesearch.nets.sources import WeightSource
    from scalesearch.nets.transfer_plan import TransferPlan

SHOWN = 20  # predictions
FEW = 4  # names of tensors


def finetune(asked: FinetuneOptions, terminal: Terminal) -> None:
    """Train one member, from scratch or from the weights of another network; evaluate it on the test images.

    Run it again to continue where it was interrupted. On several GPUs: torchrun --nproc-per-node N -m scalesearch
    finetune, with the same options; --batch-size is that of all of them together.

    Examples:

      scalesearch finetune --model b1 --data path/to/images

      scalesearch finetune --model b1 --weights imagenet --data path/to/images --strategy gradual

      scalesearch finetune --model efficientnet_b3 --weights imagenet --accumulate 4 --find-lr
    """
    from scalesearch.api.finetune import prepare, transfer_plan
    from scalesearch.reports import tables
    from scalesearch.training.device import choose_device
    from scalesearch.training.distributed import joined

    with joined(choose_device(asked.device)) as where:
        if terminal.plan:
            plan = transfer_plan(asked)
            if terminal.json:
                print_json(plan.to_dict())
                return
            show(tables.inherited_tensors(plan))
            say(f"Not used: {_few(plan.unused) or 'nothing'}")
            return
        job = prepare(asked)
        if not terminal.json:
            _introduce(job, asked.model)
        _find_lr(job, where, terminal.json) if terminal.find_lr else _train(job, where, asked, terminal.json)


def _introduce(job: "FinetuneJob", model: "NetSpec | str") -> None:
    """What will be trained on what, and how."""
    spec, parts, choice, sizes = job.spec, job.parts, job.choice, cost(job.spec)
    introduce_images(
        parts, spec.resolution, copies=False, larger="a larger network, or --resolution"
    )  # which are looked for before it is trained
    if isinstance(model, str) and phi_of(model) is not None:
        explain(job.scaling.origin)
    explain(f"{spec.name}: {spec.resolution} px, {show_count(sizes.macs)} FLOPs, {show_count(sizes.params)} parameters")
    explain(f"Takes {job.keeping}")
    if job.source is not None and job.plan is not None:
        _print_plan(job.source, job.plan)
    explain(f"Strategy: {choice.strategy}" + (f" ({choice.why})" if choice.why else ""))
    detail(f"Network {spec.digest}, images {parts.digest}, folder {job.folder}")
    detail(f"Training: {job.recipe}")


def _print_plan(source: "WeightSource", plan: "TransferPlan") -> None:
    """By parts of the network: how many tensors were copied, cut, widened or are fresh, and the share inherited."""
    show(plan.table(f"Weights from {source.name} ({source.spec.name})"), result=False)
    if source.assumed:
        explain(f"Weights: {source.assumed}")
    kept = "the function is kept" if plan.preserved else (
        f"the function is not kept: {_few(plan.losses)}; the rest is fitted to it on your images before training"
    )  # fmt: skip
    explain(f"{show_percent(plan.coverage, 0)} of the body's values are inherited; {kept}")
    if unused := [name for name in plan.unused if not name.startswith("classifier.")]:
        explain(f"{counted(len(unused), 'tensor')} of the source are not used: {_few(unused)}")


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:FEW]) + (f" and {len(names) - FEW} more" if len(names) > FEW else "")


def _train(job: "FinetuneJob", where: "torch.device", asked: FinetuneOptions, json: bool) -> None:
    """Trains, and says where the model is."""
    from scalesearch.api.finetune import run
    from scalesearch.training.distributed import ranks

    epochs, steps = job.recipe.config.epochs, job.steps
    with Bar(epochs * steps, 0, quiet=json or not ranks().first) as bar:
        progress = EpochProgress(bar, epochs, steps)
        watcher = Watcher(reading=bar.reading, step=progress.step, epoch=progress.epoch, note=bar.note)
        result = run(job, where, watcher)
    if json:
        print_json({**result.metrics, "file": str(result.file)})
        return
    _say_accuracy(result.metrics["test"])
    say(f"Model: {result.file}")
    links = [] if asked.follow_links is None else ["--follow-links", asked.follow_links]
    links += ["--skip-broken"] if asked.skip_broken else []
    again = pasted("scalesearch", "evaluate", result.file, "--data", job.data, *links)
    explain(f"Read it back: {again}")
    explain(f"Use it: {pasted('scalesearch', 'predict', result.file, 'IMAGES')}")


def _find_lr(job: "FinetuneJob", where: "torch.device", json: bool) -> None:
    """Raises the learning rate step by step, draws the loss and says which rate suits."""
    from scalesearch.api.finetune import find_lr

    if not json:
        explain("Raising the learning rate for up to 100 steps; as long as 100 steps of training take")
    with Bar(0, 0, quiet=json) as bar:
        curve, figure = find_lr(job, where, bar.reading)
    if json:
        print_json({**asdict(curve), "figure": str(figure)})
        return
    say(f"Suggested: --lr {curve.suggestion:g} (a tenth of the rate with the lowest loss, {len(curve.lrs)} steps)")
    say(f"Figure: {figure}")


def _say_accuracy(values: dict[str, Any], part: str = "test") -> None:
    whose = f"all {values['images']} images" if part == "all" else f"{values['images']} {part} images"
    say(
        f"Accuracy on {whose}: {show_percent(values['top1'])} (95 % interval "
        f"{show_interval(values['low'], values['high'])}), top-5 {show_percent(values['top5'])}"
    )


def evaluate(asked: EvaluateOptions, terminal: Terminal) -> None:
    """Evaluate a saved model: top-1, top-5, per class, confusion, calibration.

    Example: scalesearch evaluate runs/mbconv_small-glyphs-own/models/b1-glyphs/model.safetensors
    """
    from scalesearch.api import evaluate as evaluation
    from scalesearch.study.calibration import advice

    result = evaluation.evaluate(**vars(asked))
    if terminal.json:
        print_json(result.to_dict())
        return
    _say_accuracy(result.values, result.part)
    show_rows("Per class", ("class", "images", "accuracy"), result.rows())
    if result.part in ("test", "validation"):
        say(advice(result.calibration))
    else:
        say(f"Expected calibration error: {show_percent(result.calibration.ece)}; on images trained on it says little")
    if asked.out is not None:
        say(f"Written: {asked.out}/evaluation.json, confusion.csv, mistakes.csv, confusion.png, calibration.png")
    model = evaluation.file_of(asked.model)
    predict = pasted("scalesearch", "predict", model, "IMAGES", *_again(asked, *TOLD, *CUT))
    export = pasted("scalesearch", "export", model, *_again(asked, *TOLD))
    explain_next(predict, f"{export} --format onnx")


TOLD, CUT = ("source", "source_padding", "source_eps"), ("crop_pct", "interpolation")


def _again(asked: EvaluateOptions | PredictOptions, *names: str) -> list[str]:
    """What was told of the weights (TOLD) and of how images are cut (CUT), as it is typed."""
    given = {f"--{name.replace('_', '-')}": getattr(asked, name) for name in names}
    return [word for option, value in given.items() if value is not None for word in (option, str(value))]


def predict(asked: PredictOptions, terminal: Terminal) -> None:
    """Say what is on images, with probabilities. Unreadable files are reported, not fatal.

    Example: scalesearch predict model.safetensors photos/ --out predictions.csv
    """
    from scalesearch.api import evaluate as evaluation

    with reading_bar(terminal.json) as bar:

        def reading(done: int, total: int) -> None:
            bar.total(total)
            bar.show("Predicting", done)

        predictions = evaluation.predict(**vars(replace(asked, reading=reading)))
    unread = [one for one in predictions if one.error]
    if len(unread) == len(predictions):
        raise UserError(unread[0].file, f"none of the images can be read ({unread[0].error}).")
    if terminal.json:
        print_json([one.to_dict() for one in predictions])
        return
    if asked.out is None:
        rest = "" if len(predictions) <= SHOWN else f", the first {SHOWN} (all with --out or --json)"
        rows = [(one.file, one.label or "", show_percent(one.probability or 0)) for one in predictions if not one.error]
        show_rows(f"Predictions{rest}", ("file", "class", "probability"), rows[:SHOWN])
    say(f"{len(predictions) - len(unread)} images predicted" + (f", {len(unread)} unreadable" if unread else ""))
    for one in unread[:SHOWN]:
        say(f"Unreadable: {one.file}: {one.error}")
    if asked.out is not None:
        say(f"Written: {asked.out}")
    else:
        words = ("scalesearch", "predict", evaluation.file_of(asked.model), "IMAGES", *_again(asked, *TOLD, *CUT))
        explain(f"All classes and files: {pasted(*words, '--out', 'predictions.csv')}")


def export(asked: ExportOptions, terminal: Terminal) -> None:
    """Write a model for other programs. The file is run and its logits compared before it is kept.

    Example: scalesearch export model.safetensors --format onnx
    """
    from scalesearch.api.export import export as written

    result = written(**vars(asked))
    if terminal.json:
        print_json({**asdict(result), "file": str(result.file)})
        return
    say(f"Written: {result.file} (run and compared: logits differ by {result.largest_difference:.1e} at most)")
    mean, std = (", ".join(f"{value:.4g}" for value in values) for values in (result.mean, result.std))
    size = f"{result.resolution}×{result.resolution} px" + (" and of other sizes" if asked.dynamic_size else "")
    cut = f"short side resized to {result.resize_px} px, cropped at the centre"
    cut = "the largest square of the centre, resized" if result.resize_px == result.resolution else cut
    how = f"{cut}; {result.interpolation}, antialiased"
    explain(f"It takes RGB images of {size} ({how}), 0 to 1, normalised by mean {mean} and standard deviation {std}")
    if result.code:
        explain(f"Load it with {result.code}")
