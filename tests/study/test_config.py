import dataclasses
import json
import math
import re

import pytest

from scalesearch.errors import UserError
from scalesearch.study.config import TrainConfig, validate
from scalesearch.typed import TABLE, rules, shown


def test_defaults_are_valid_and_every_setting_has_a_rule() -> None:
    validate(TrainConfig(epochs=1))
    assert all(rule is not TABLE for rule in rules(TrainConfig).values())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("epochs", True),
        ("epochs", 2.5),
        ("batch_size", -1),
        ("optimizer", "rmsprop"),
        ("lr", 0.0),
        ("lr", math.nan),
        ("lr", math.inf),
        ("lr", "fast"),
        ("weight_decay", -0.1),
        ("warmup_epochs", -1),
        ("warmup_epochs", 6),
        ("label_smoothing", 1.0),
        ("clip_grad_norm", -1.0),
        ("ema_decay", 1.0),
        ("seed", -1),
        ("strategy", "heads"),
        ("tail_blocks", -1),
        ("layer_decay", 0.0),
        ("accumulate", 0),
        ("patience", 1.5),
        ("body_lr_ratio", 0.0),
        ("precision", "fp16"),
        ("optimizer", ["adamw"]),
    ],
)
def test_a_bad_setting_is_named(name: str, value: object) -> None:
    says = f"training settings: {name}: {shown(value)} is {'more than the 5' if value == 6 else 'not'} "
    with pytest.raises(UserError, match=re.escape(says)):
        validate(dataclasses.replace(TrainConfig(epochs=5), **{name: value}))


def test_json_round_trip() -> None:
    config = TrainConfig(epochs=7, lr=0.1, strategy="head", ema_decay=0.99)
    assert TrainConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_from_dict_refuses_unknown_missing_and_bad() -> None:
    for values, where in (({"epochs": 1, "rate": 1}, "rate"), ({"lr": 0.1}, "epochs"), ({"epochs": 1, "lr": -1}, "lr")):
        with pytest.raises(UserError, match=f"training settings: {where}"):
            TrainConfig.from_dict(values)


def test_digest_follows_every_setting_and_no_spelling() -> None:
    base = TrainConfig(epochs=5)
    others = {
        "epochs": 6, "batch_size": 64, "optimizer": "sgd", "lr": 0.2, "weight_decay": 0.0, "warmup_epochs": 2.0,
        "label_smoothing": 0.0, "clip_grad_norm": 0.0, "ema_decay": 0.9, "seed": 1, "strategy": "head",
        "body_lr_ratio": 0.1, "precision": "bf16", "tail_blocks": 1, "layer_decay": 0.9, "accumulate": 2, "patience": 3,
        "recompute": True,
    }  # fmt: skip
    assert set(others) == set(base.to_dict())
    digests = {dataclasses.replace(base, **{name: value}).digest for name, value in others.items()}
    assert len(digests | {base.digest}) == len(others) + 1
    assert dataclasses.replace(base, warmup_epochs=1).digest == base.digest


def test_settings_that_came_later_leave_old_digests_as_they_were() -> None:
    # the digest of the first version, whose runs are to be found again
    assert TrainConfig(epochs=5).digest == "c9080b3a57e4"


def test_no_more_micro_batches_than_images() -> None:
    with pytest.raises(UserError, match="accumulate: 9 is more than the 8 images of a step"):
        validate(TrainConfig(epochs=1, batch_size=8, accumulate=9))
