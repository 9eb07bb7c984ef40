"""How a network is trained, as a value. Imports no torch."""

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from scalesearch.errors import UserError

Optimizer = Literal["adamw", "sgd"]
Strategy = Literal["full", "head", "tail", "gradual"]
Precision = Literal["auto", "fp32", "bf16"]


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

    epochs: int
    batch_size: int = 128
    optimizer: Optimizer = "adamw"
    lr: float = 1e-3
    weight_decay: float = 0.02
    warmup_epochs: float = 1.0
    label_smoothing: float = 0.1
    clip_grad_norm: float = 1.0
    ema_decay: float = 0.0
    seed: int = 0
    strategy: Strategy = "full"
    body_lr_ratio: float = 1.0
    precision: Precision = "auto"
    tail_blocks: int = 3
    layer_decay: float = 1.0
    accumulate: int = 1
    patience: int = 0
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
        names = [field.name for field in dataclasses.fields(cls)]
        for name in values:
            if name not in names:
                raise UserError(f"training settings: {name}", "an unknown setting", ", ".join(names))
        if "epochs" not in values:
            raise UserError("training settings: epochs", "nothing", EXPECTED_COUNT)
        config = cls(**values)
        validate(config)
        return config


def is_whole(value: Any) -> bool:
    """Whether a value is an integer and not a truth value."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Whether a value is a finite number and not a truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < math.inf


def is_share(value: Any) -> bool:
    """Whether a value is a number from 0 (included) to 1 (not included)."""
    return is_number(value) and 0 <= value < 1


# settings that came after runs had been kept: at their defaults they do not change a digest
LATER = ("tail_blocks", "layer_decay", "accumulate", "patience", "recompute")
LARGEST_BATCH = 65536  # images; far above any that helps
EXPECTED_COUNT = "a whole number of at least 1"
NOT_NEGATIVE = "a finite number of at least 0"
SHARE = "a number from 0 to below 1"
# setting, test, what would be accepted
RULES: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("epochs", lambda v: is_whole(v) and v >= 1, EXPECTED_COUNT),
    ("batch_size", lambda v: is_whole(v) and 1 <= v <= LARGEST_BATCH, f"{EXPECTED_COUNT}, at most 65536"),
    ("optimizer", lambda v: v in get_args(Optimizer), " or ".join(get_args(Optimizer))),
    ("lr", lambda v: is_number(v) and v > 0, "a finite number above 0"),
    ("weight_decay", lambda v: is_number(v) and v >= 0, NOT_NEGATIVE),
    ("warmup_epochs", lambda v: is_number(v) and v >= 0, NOT_NEGATIVE),
    ("label_smoothing", is_share, SHARE),
    ("clip_grad_norm", lambda v: is_number(v) and v >= 0, NOT_NEGATIVE),
    ("ema_decay", is_share, SHARE),
    ("seed", lambda v: is_whole(v) and v >= 0, "a whole number of at least 0"),
    ("strategy", lambda v: v in get_args(Strategy), " or ".join(get_args(Strategy))),
    ("body_lr_ratio", lambda v: is_number(v) and 0 < v <= 1, "a number above 0, at most 1"),
    ("precision", lambda v: v in get_args(Precision), ", ".join(get_args(Precision))),
    ("tail_blocks", lambda v: is_whole(v) and v >= 0, "a whole number of at least 0"),
    ("layer_decay", lambda v: is_number(v) and 0 < v <= 1, "a number above 0, at most 1"),
    ("accumulate", lambda v: is_whole(v) and v >= 1, EXPECTED_COUNT),
    ("patience", lambda v: is_whole(v) and v >= 0, "a whole number of at least 0"),
    ("recompute", lambda v: isinstance(v, bool), "true or false"),
)


def validate(config: TrainConfig) -> None:
    """Raise UserError naming the first setting that cannot be used."""
    for name, accepts, expected in RULES:
        value = getattr(config, name)
        if not accepts(value):
            raise UserError(f"training settings: {name}", repr(value), expected)
    if config.warmup_epochs > config.epochs:
        raise UserError(
            "training settings: warmup_epochs", repr(config.warmup_epochs), f"at most the {config.epochs} epochs"
        )
    if config.accumulate > config.batch_size:
        raise UserError(
            "training settings: accumulate", str(config.accumulate), f"at most the {config.batch_size} images of a step"
        )
