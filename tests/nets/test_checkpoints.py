"""Weights as training scripts leave them: found, unwrapped, and said which were taken."""

import argparse
import io
import re
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from scalesearch.design.space import load_space
from scalesearch.errors import UserError
from scalesearch.nets.checkpoints import weights_in
from scalesearch.nets.sources import Stated, open_weights
from scalesearch.nets.weights import read_weights
from tests.nets.test_inherit import SMALL, trained

B0 = load_space("efficientnet_b0").baseline


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    """Of a network that no space describes, but the target does."""
    return dict(trained(SMALL).state_dict())


def prefixed(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


WRAPPED: dict[str, Any] = {
    "plain": lambda state: state,
    "state_dict": lambda state: {"state_dict": state, "epoch": 3},
    "model": lambda state: {"model": OrderedDict(state), "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}}},
    "timm": lambda state: {"arch": "x", "args": argparse.Namespace(lr=0.1, data="/data"), "state_dict": state,
                           "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]}, "metric": np.float64(83.1)},
    "tutorial": lambda state: {"epoch": 5, "model_state_dict": state, "loss": torch.tensor(0.3)},
    "net": lambda state: {"net": state, "acc": 93.2, "epoch": 7},
    "params_ema": lambda state: {"params_ema": state, "params": {n: t + 1 for n, t in state.items()}},
    "weights": lambda state: {"run": {"weights": state}},
    "numpy scalar beside": lambda state: {**state, "best": np.float32(1.5), "note": "x"},
    "module.": lambda state: prefixed(state, "module."),
    "module._orig_mod.": lambda state: {"state_dict": prefixed(state, "module._orig_mod.")},
    "lightning": lambda state: {"state_dict": prefixed(state, "model."), "hyper_parameters": {"lr": 1e-3}},
    "net.": lambda state: prefixed(state, "net."),
    "backbone.": lambda state: {"model": prefixed(state, "backbone.")},
    "encoder.": lambda state: prefixed(state, "encoder."),
    "network.base_model.": lambda state: prefixed(state, "network.base_model."),
    "averaged": lambda state: {"n_averaged": torch.tensor(3), **prefixed(state, "module.")},
}  # fmt: skip


@pytest.mark.parametrize("how", WRAPPED)
def test_weights_are_found_however_they_are_wrapped(how: str, state: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(WRAPPED[how](state), tmp_path / "net.pth")
    source = open_weights(str(tmp_path / "net.pth"), SMALL)
    assert source.spec == SMALL
    assert all(torch.equal(source.state[name], tensor) for name, tensor in state.items())


def test_averaged_weights_are_taken_and_said(state: dict[str, Tensor], tmp_path: Path) -> None:
    raw = {name: tensor + 1 for name, tensor in state.items()}
    torch.save({"state_dict": raw, "state_dict_ema": state, "epoch": 3}, tmp_path / "net.pth")
    source = open_weights(str(tmp_path / "net.pth"), SMALL)
    assert torch.equal(source.state["classifier.1.weight"], state["classifier.1.weight"])
    assert source.assumed.startswith("those under state_dict_ema, not those under state_dict; ")


def test_what_tensors_do_not_say_is_said(state: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(state, tmp_path / "net.pth")
    assert open_weights(str(tmp_path / "net.pth"), SMALL).assumed == (
        f"tensors named as efficientnet's, of the shape of {SMALL.name}, from which comes what tensors do not say: "
        "strides, activation silu, padding symmetric, eps 1e-05"
    )
    stated = open_weights(str(tmp_path / "net.pth"), SMALL, Stated("same", 1e-3))
    assert stated.assumed.endswith("do not say: strides, activation silu; as you state, padding same and eps 0.001")


def test_two_dicts_without_a_usual_name_are_refused(state: dict[str, Tensor]) -> None:
    with pytest.raises(UserError, match=r"several dicts of tensors \(generator, discriminator\)"):
        weights_in({"generator": state, "discriminator": state}, "gan.pth")


def test_entries_that_are_no_tensors_are_counted(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(2), "epoch": 3, "name": "x"}, tmp_path / "net.pth")
    assert read_weights(tmp_path / "net.pth").said == "2 entries beside them are no tensors"


def test_a_backbone_keeps_its_own_prefix(tmp_path: Path) -> None:
    body = {name: tensor for name, tensor in trained(B0).state_dict().items() if name.startswith("features.")}
    torch.save(body, tmp_path / "net.pth")
    assert open_weights(str(tmp_path / "net.pth"), SMALL).spec.name == "efficientnet_b0"


@pytest.mark.parametrize("core", ["core", "_core"])
def test_scalars_of_either_numpy_are_read(core: str, state: dict[str, Tensor], tmp_path: Path) -> None:
    """NumPy 2 renamed the module that a pickled scalar names; either NumPy reads both."""
    written, renamed = io.BytesIO(), tmp_path / "net.pth"
    torch.save({"state_dict": state, "best": np.float64(0.5)}, written)
    with zipfile.ZipFile(written) as read, zipfile.ZipFile(renamed, "w") as write:
        for name in read.namelist():
            content = read.read(name)
            if name.endswith("data.pkl"):
                content = re.sub(rb"numpy\._?core\.", f"numpy.{core}.".encode(), content)
                assert f"numpy.{core}.multiarray".encode() in content
            write.writestr(name, content)
    assert open_weights(str(renamed), SMALL).spec == SMALL


def test_whole_networks_are_still_refused(tmp_path: Path) -> None:
    torch.save({"args": argparse.Namespace(hook=nn.Linear(1, 1)), "state_dict": {}}, tmp_path / "net.pth")
    with pytest.raises(UserError, match="can run code"):
        read_weights(tmp_path / "net.pth")
