"""How a network is trained, as a value. Imports no torch."""

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from scalesearch.errors import UserError
from scalesearch.typed import Rule, integer, parse, rules, shown

Optimizer = Literal["adamw", "sgd"]
Strategy = Literal["full", "head", "tail", "gradual"]
Precision = Literal["auto", "fp32", "bf16"]
Equal = Literal["epochs", "time"]  # what networks that are compared have alike
# what the recommended network has least of among those that may be taken for the best
Ties = Literal["speed", "latency", "memory", "params", "activations", "flops"]
Interpolation = Literal["bicubic", "bilinear", "lanczos", "nearest"]  # by which images are resized for an evaluation


# settings that came after runs had been kept: at their defaults they do not change a digest
LATER = ("tail_blocks", "layer_decay", "accumulate", "patience", "recompute")
LARGEST_BATCH = 65536  # images; far above any that helps


def is_number(value: Any) -> bool:
    """Whether a value is a finite number and not a truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < math.inf


COUNT = Rule("a whole number of at least 1", lambda v: is_number(v) and isinstance(v, int) and v >= 1)
WHOLE = Rule("a whole number of at least 0", lambda v: is_number(v) and isinstance(v, int) and v >= 0)
NOT_NEGATIVE = Rule("a finite number of at least 0", lambda v: is_number(v) and v >= 0)
SHARE = Rule("a number from 0 to below 1", lambda v: is_number(v) and 0 <= v < 1)
RATIO = Rule("a number above 0, at most 1", lambda v: is_number(v) and 0 < v <= 1)


@dataclass(frozen=True)
class TrainConfig:
    """Every setting of one training run.

    Args:
        epochs: passes over the training images.
        batch_size: images of one optimizer step.
        optimizer: "adamw", or "sgd" with Nesterov momentum 0.9.
        lr: peak learning rate, of the head where head and body differ.
        weight_decay: of weights; norms and biases have none.
        warmup_epochs: linear rise of the learning rate, parts of an epoch allowed; a cosine to 0 follows.
        label_smoothing: share of the target spread over all classes (used by ``loss.classification_loss``).
        clip_grad_norm: largest global gradient norm; 0 leaves gradients as they are.
        ema_decay: of the averaged weights that are evaluated and kept; 0 keeps the last weights.
        seed: of dropout and stochastic depth; each epoch draws from (seed, epoch).
        strategy: "full" trains everything, "head" only ``network.classifier``, "tail" the last ``tail_blocks`` blocks
            too, "gradual" the head, then the tail, then everything (see ``sections.trained_sections``).
        body_lr_ratio: everything but the head learns at ``body_lr_ratio * lr``; 1 from scratch.
        precision: of the forward pass; "auto" is bf16 on a GPU that has it, else fp32.
        tail_blocks: blocks before the last convolution that "tail" and "gradual" train after the head.
        layer_decay: each section further from the head learns at this share of the next one's rate.
        accumulate: micro-batches that a step's images are split into; batch norm sees one at a time.
        patience: epochs without a better validation result after which training stops, keeping the best; 0 never does.
        recompute: whether activations are recomputed in the backward pass instead of kept (see ``recompute``).
    """

    epochs: Annotated[int, COUNT]
    batch_size: Annotated[int, integer(1, LARGEST_BATCH)] = 128
    optimizer: Optimizer = "adamw"
    lr: Annotated[float, Rule("a number above 0", lambda v: is_number(v) and v > 0)] = 1e-3
    weight_decay: Annotated[float, NOT_NEGATIVE] = 0.02
    warmup_epochs: Annotated[float, NOT_NEGATIVE] = 1.0
    label_smoothing: Annotated[float, SHARE] = 0.1
    clip_grad_norm: Annotated[float, NOT_NEGATIVE] = 1.0
    ema_decay: Annotated[float, SHARE] = 0.0
    seed: Annotated[int, WHOLE] = 0
    strategy: Strategy = "full"
    body_lr_ratio: Annotated[float, RATIO] = 1.0
    precision: Precision = "auto"
    tail_blocks: Annotated[int, WHOLE] = 3
    layer_decay: Annotated[float, RATIO] = 1.0
    accumulate: Annotated[int, COUNT] = 1
    patience: Annotated[int, WHOLE] = 0
    recompute: bool = False

    @property
    def digest(self) -> str:
        """12 hex digits naming these settings; 1 and 1.0 are the same setting."""
        values = {k: float(v) if isinstance(v, int | float) else v for k, v in self.settings().items()}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; ``TrainConfig.from_dict`` reads them back."""
        return dataclasses.asdict(self)

    def settings(self) -> dict[str, Any]:
        """``to_dict`` without the settings that came later, where they are at their defaults: as old runs have it."""
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        return {name: v for name, v in self.to_dict().items() if name not in LATER or v != defaults[name]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "TrainConfig":
        """The inverse of ``to_dict``, validated; what is left out keeps its default. Raises UserError."""
        config = parse(cls, values, "training settings", "the settings of a training")
        validate(config)
        return config


def validate(config: TrainConfig) -> None:
    """Raise UserError naming the first setting that cannot be used."""
    for name, rule in rules(TrainConfig).items():
        value = getattr(config, name)
        if not rule.accepts(value):
            raise UserError(f"training settings: {name}", f"{shown(value)} is not {rule.expected}.")
    for name, most, what in (
        ("warmup_epochs", config.epochs, "epochs"), ("accumulate", config.batch_size, "images of a step"),
    ):  # fmt: skip
        value = getattr(config, name)
        if value > most:
            raise UserError(f"training settings: {name}", f"{value} is more than the {most} {what}.")
