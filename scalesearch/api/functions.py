"""What the command line does, as functions: ``import scalesearch`` and call them.

Sizes are multiply-adds as numbers or as people write them ("400M"), durations "30m". Every function that works long
takes ``tell``, which is called with a line of text now and then: ``tell=print`` shows progress.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from scalesearch.api.family import Family, family_of
from scalesearch.design.family import LARGEST, member
from scalesearch.design.scaling import PAPER, Coefficients, Rounding, meet, size_baseline
from scalesearch.design.space import load_space
from scalesearch.design.spec import NetSpec
from scalesearch.errors import UserError
from scalesearch.study.config import Strategy
from scalesearch.units import parse_duration, parse_flops

if TYPE_CHECKING:
    from torch import nn

    from scalesearch.api.result import SearchResult
    from scalesearch.api.tuning import FineTuned
    from scalesearch.api.using import Judged, Named
    from scalesearch.nets.modules import MBConvNet

Tell = Callable[[str], None]


def baseline(space: str = "efficientnet_b0", target_flops: float | str | None = None) -> NetSpec:
    """A space's network of φ = 0, sized to about ``target_flops``. Raises UserError for an unknown space."""
    return size_baseline(load_space(space), _flops(target_flops, "target_flops"))


def grid(
    data: str | Path,
    *,
    space: str = "efficientnet_b0",
    target_flops: float | str | None = None,
    weights: str | None = None,
    run: str | Path | None = None,
    step: float | None = None,
    tolerance: float | None = None,
    rounding: Rounding = "budget",
    seeds: int | None = None,
    exhaustive: bool = False,
    level: float = 0.9,
    time_budget: str | None = None,
    epochs: int | None = None,
    proxy_divisor: float | None = None,
    images: int | None = None,
    batch_size: int = 32,
    lr: float = 3e-3,
    jobs: int | None = None,
    device: str = "auto",
    executor: Literal["processes", "ray"] = "processes",
    ray_address: str | None = None,
    cpus_per_trial: float = 1.0,
    gpus_per_trial: float = 0.0,
    storage: str | None = None,
    retries: int = 3,
    tell: Tell | None = None,
) -> "SearchResult":
    """Searches α, β, γ by racing the grid's networks; called again, it continues where it was.

    With several ``jobs`` Python starts processes that import the calling script again: call this under
    ``if __name__ == "__main__":`` there, as always with processes (a notebook needs no such thing).

    Args:
        data: a folder of images with a folder per class, a torchvision set such as "cifar10", or "glyphs".
        space, target_flops: the baseline and its size.
        weights: what every candidate inherits, as for ``finetune``.
        run: folder of the run; runs/SPACE-DATA-T if None.
        step, tolerance, rounding: of the grid; the space's if None.
        seeds, exhaustive, level: of the race.
        time_budget: "30m", "2h": wall time of this call.
        epochs, proxy_divisor, images: of the proxy that candidates are trained as.
        jobs: trainings at a time; the number of cores, or with Ray what the cluster takes.
        executor: "processes" of this machine, or "ray"; ray_address: of the cluster, a local one if None.
        cpus_per_trial, gpus_per_trial: of each training: its threads on a CPU, and what Ray reserves.
        storage: postgresql://… that several coordinators share; SQLite in the run's folder if None.
        retries: how often a training is tried again after its worker died.

    Raises:
        UserError: an option that cannot be used, or a folder that holds another search.
    """
    from scalesearch.api.searching import SearchOptions, expect, prepare_search, run_search
    from scalesearch.running.search import Listener

    asked = SearchOptions(
        data=str(data), space=space, target_flops=_flops(target_flops, "target_flops"), weights=weights, step=step,
        tolerance=tolerance, rounding=rounding, seeds=seeds, exhaustive=exhaustive, level=level, epochs=epochs,
        proxy_divisor=proxy_divisor, images=images, batch_size=batch_size, lr=lr, jobs=jobs, device=device,
        executor=executor, ray_address=ray_address, cpus_per_trial=cpus_per_trial, gpus_per_trial=gpus_per_trial,
        storage=storage, retries=retries,
    )  # fmt: skip
    prepared = prepare_search(asked, None if run is None else Path(run))
    seconds = None if time_budget is None else parse_duration(time_budget, "time_budget")
    say = tell or _silent

    def finished(row: dict[str, Any], done: int, total: int) -> None:
        result = f"accuracy {row['top1']:.1%}" if row["status"] == "done" else f"failed: {row['reason']}"
        say(
            f"{done}/{total} {row['name']} seed {row['seed']}, {row['epochs']} of {row['full_epochs']} epochs: {result}"
        )

    timing = None if seconds is None else expect(prepared).timing
    return run_search(prepared, Listener(_nothing, finished, say), seconds, None, timing)


def searched(run: str | Path) -> "SearchResult":
    """The answer of an earlier search, from its folder. Raises UserError where there is none."""
    from scalesearch.api.result import read_result

    return read_result(Path(run))


def scale(
    of: NetSpec | str,
    phi: float | None = None,
    *,
    flops: float | str | None = None,
    coefficients: Coefficients = PAPER,
    rounding: Rounding = "budget",
) -> NetSpec:
    """The member at a real φ of the family that a network (φ = 0) and coefficients span.

    Args:
        of: a spec or the name of a space.
        phi: any real number; None solves for the one that costs ``flops``.

    Raises:
        UserError: both or neither of ``phi`` and ``flops``, or a network too large to build.
    """
    base = load_space(of).baseline if isinstance(of, str) else of
    if (phi is None) == (flops is None):
        raise UserError("scale", "both or neither of phi and flops", "one of them")
    target = _flops(flops, "flops")
    if target is not None:
        phi = round(meet(base, coefficients, target, rounding, "flops").phi, 4)
    assert phi is not None  # one of the two was given
    return member(base, coefficients, phi, rounding).spec


def family(
    of: NetSpec | str,
    coefficients: Coefficients = PAPER,
    rounding: Rounding = "budget",
    largest: int = LARGEST,
) -> Family:
    """φ = 0 to ``largest`` of the family that a network (φ = 0) and coefficients span."""
    base = load_space(of).baseline if isinstance(of, str) else of
    return family_of(base, coefficients, rounding, f"Family of {base.name}, {coefficients}", largest)


def build(spec: NetSpec, seed: int | None = None) -> "MBConvNet":
    """The torch module of a spec, freshly initialised; tensors named as torchvision's EfficientNet names them."""
    from scalesearch.nets.modules import build as built

    return built(spec, seed)


def finetune(
    model: NetSpec | str,
    data: str | Path | None = None,
    *,
    weights: str | Path | None = None,
    run: str | Path | None = None,
    out: str | Path | None = None,
    strategy: Literal["auto"] | Strategy = "auto",
    tail_blocks: int = 3,
    reset_tail: bool = False,
    epochs: int = 20,
    patience: int = 0,
    resolution: int | None = None,
    batch_size: int = 32,
    accumulate: int = 1,
    lr: float | None = None,
    body_lr_ratio: float | None = None,
    ema: float = 0.0,
    augment: Literal["light", "medium", "strong"] = "light",
    balance: bool = False,
    seed: int = 0,
    device: str = "auto",
    tell: Tell | None = None,
) -> "FineTuned":
    """Trains one network, from scratch or from other weights, and judges it on the test images.

    Args:
        model: a spec; or b0 to b6, phi2.5, a spec file, a space, a released network ("efficientnet_b3").
        data: as for ``grid``; None: what was searched on.
        weights: "imagenet", a name of torchvision's, a file, a folder of files; None: from scratch.
        run: the search that b0 to b6 are of; None: the newest.
        out: folder for the model; RUN/models/MODEL-DATA if None.
        strategy: "auto" goes by the amount of data; "head", "tail", "full" or "gradual".
        Everything else: as ``scalesearch.api.tuning.TuneOptions``, which has the rarer settings, too.

    Raises:
        UserError: an option that cannot be used, or a folder that holds another training.
    """
    from scalesearch.api.tuning import TuneListener, TuneOptions, prepare_tuning, subject, train
    from scalesearch.training.device import choose_device

    asked = TuneOptions(
        model=model, data=None if data is None else str(data), weights=None if weights is None else str(weights),
        strategy=strategy, tail_blocks=tail_blocks, reset_tail=reset_tail, epochs=epochs, patience=patience,
        resolution=resolution, batch_size=batch_size, accumulate=accumulate, lr=lr, body_lr_ratio=body_lr_ratio,
        ema=ema, augment=augment, balance=balance, seed=seed,
    )  # fmt: skip
    found = subject(asked, None if run is None else Path(run))
    prepared = prepare_tuning(asked, found, None if out is None else Path(out))
    say = tell or _silent
    why = f" ({prepared.choice.why})" if prepared.choice.why else ""
    say(f"Strategy: {prepared.choice.strategy}{why}")
    listener = TuneListener(
        _nothing,
        say,
        _nothing,
        lambda record: say(
            f"epoch {record.epoch + 1}/{epochs}, validation {record.metrics.get('top1', float('nan')):.1%}, "
            f"loss {record.train_loss:.3f}"
        ),
    )
    return train(prepared, choose_device(device), listener)


def evaluate(
    model: "FineTuned | str | Path",
    data: str | Path | None = None,
    *,
    part: Literal["test", "validation", "train"] = "test",
    device: str = "auto",
) -> "Judged":
    """Judges a saved model: top-1 with its interval, per class, confusion, calibration.

    Args:
        model: a model.safetensors that ``finetune`` wrote, or what it returned.
        data: None: the data it was trained on.
    """
    from scalesearch.api.using import judge

    return judge(_file(model), None if data is None else str(data), part, device, skip_broken=False)


def predict(
    model: "FineTuned | str | Path",
    images: str | Path | Sequence[str | Path],
    *,
    top: int = 5,
    batch_size: int = 64,
    device: str = "auto",
) -> "list[Named]":
    """What is on images, with probabilities; files that cannot be read carry an ``error``.

    Args:
        images: an image, a folder of them, or several.
        top: classes to name for each.
    """
    from scalesearch.api.using import named

    given = [images] if isinstance(images, str | Path) else images
    return list(named(_file(model), [str(one) for one in given], top, batch_size, device)[2])


def load_model(path: str | Path) -> "MBConvNet":
    """The network of a model file, with its weights, in evaluation mode on the CPU; ``.spec`` is its architecture."""
    from scalesearch.nets.weights import load_network

    return load_network(Path(path))[0]


def to_torchvision(network: "MBConvNet") -> "nn.Module":
    """torchvision's own module with the network's weights: an EfficientNet, MobileNet or ResNet of torchvision's class.

    A network of MBConv blocks is a drop-in for torchvision's EfficientNet as it is (``features``, ``avgpool``,
    ``classifier``, the same tensor names); this is for programs that ask for the class.

    Raises:
        UserError: torchvision has no module of this shape; of ResNets and MobileNets it has the published widths alone.
    """
    from scalesearch.nets.export import torchvision_family, torchvision_loaded
    from scalesearch.nets.naming import to_torchvision as renamed

    spec = network.spec
    state = renamed(spec, network.state_dict(), torchvision_family(spec))
    return torchvision_loaded(spec, state).train(network.training)


def _file(model: "FineTuned | str | Path") -> Path:
    return Path(model) if isinstance(model, str | Path) else model.file


def _flops(value: float | str | None, option: str) -> float | None:
    return parse_flops(value, option) if isinstance(value, str) else value


def _silent(text: str) -> None:
    """Says nothing."""


def _nothing(first: int, second: int) -> None:
    """Shows nothing."""
