"""Files of weights that no training can have left: refused when they are read, with the tensor's name."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from scalesearch.errors import UserError
from scalesearch.nets.modules import build
from scalesearch.nets.weights import load_network, read_safetensors, read_weights, save_network
from tests.nets.specs import tiny

Spoil = Callable[[dict[str, Tensor]], object]
NAME = "classifier.1.weight"


def first(tensors: dict[str, Tensor], kind: str) -> str:
    return next(name for name in tensors if name.endswith(kind))


SPOILT: dict[str, tuple[Spoil, str]] = {
    "nan": (lambda tensors: tensors[NAME].view(-1)[3].fill_(math.nan), rf"{NAME}: 1 of \d+ values are not finite"),
    "inf": (lambda tensors: tensors[NAME].view(-1)[3].fill_(math.inf), rf"{NAME}: 1 of \d+ values are not finite"),
    "huge": (lambda tensors: tensors[NAME].view(-1)[3].fill_(-3e38), rf"{NAME}: a value of 3e\+38 is no trained"),
    "variance": (lambda tensors: tensors[first(tensors, "running_var")][0].fill_(-1), "a variance is below 0"),
    "whole": (lambda tensors: tensors.update({NAME: tensors[NAME].long()}), "should be floating-point numbers"),
}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    save_network(path, build(tiny(), seed=0), {}, tuple(f"class {number}" for number in range(tiny().classes)))
    return path


@pytest.mark.parametrize("kind", SPOILT)
def test_absurd_numbers_are_refused_when_read(model: Path, kind: str) -> None:
    spoil, said = SPOILT[kind]
    tensors, (_, metadata) = load_file(model), read_safetensors(model)
    spoil(tensors)
    save_file(tensors, model, metadata)
    other = model.with_suffix(".pth")
    torch.save(tensors, other)
    for read, file in ((read_safetensors, model), (load_network, model), (read_weights, other)):
        with pytest.raises(UserError, match=said):
            read(file)


def test_large_but_possible_numbers_are_read(model: Path) -> None:
    tensors, (_, metadata) = load_file(model), read_safetensors(model)
    tensors[first(tensors, "running_var")].fill_(1e12)
    tensors["classifier.1.bias"].fill_(-65504)
    save_file(tensors, model, metadata)
    load_network(model)


@pytest.mark.parametrize("count", [1, 99])
def test_other_numbers_of_class_names_are_refused(model: Path, count: int) -> None:
    tensors, (_, metadata) = load_file(model), read_safetensors(model)
    save_file(tensors, model, {**metadata, "classes": json.dumps([f"class {number}" for number in range(count)])})
    with pytest.raises(UserError, match=f"{count} class names are not those of a network of {tiny().classes} classes"):
        load_network(model)
