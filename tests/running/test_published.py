"""Trials of torchvision's networks: from scratch, from weights, and from weights that have changed since."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from scalesearch.data.batches import Augment
from scalesearch.data.dataset import dataset, open_data
from scalesearch.errors import UserError
from scalesearch.nets.torchvision_net import counted, network_of
from scalesearch.nets.torchvision_weights import torchvision_state
from scalesearch.running.trial import Assignment, Setting, run_trial
from scalesearch.study.config import TrainConfig
from scalesearch.study.family_plan import MemberTrial
from scalesearch.study.row import Inheritance
from tests.conftest import MakeFolder

CONFIG = TrainConfig(epochs=2, batch_size=8, lr=3e-3, warmup_epochs=0, body_lr_ratio=0.3, ema_decay=0.9)


def test_a_trial_starts_from_the_weights_that_its_run_began_with(tmp_path: Path, image_folder: MakeFolder) -> None:
    images = dataset(open_data(str(image_folder(parts=("train", "test")))), 40)
    setting = Setting(images.train, {"validation": images.validation}, Augment(flip=True), "cpu")
    spec = counted("shufflenet_v2_x0_5", 32, 2)
    file = tmp_path / "weights.pth"
    torch.save(network_of(replace(spec, classes=7), seed=4).state_dict(), file)
    found = torchvision_state(spec, str(file))
    fresh = MemberTrial(0, 0, "shufflenet", spec, CONFIG, None, None, kept=False)
    weighty = replace(fresh, weights=Inheritance(found.name, None, found.digest))
    outcomes = [
        run_trial(setting, Assignment(one, checkpoint), lambda: None)
        for one, checkpoint in ((fresh, None), (weighty, None), (weighty, tmp_path / "state.safetensors"))
    ]
    assert [one.measurement.reason for one in outcomes] == ["", "", ""]
    assert {one.measurement.macs for one in outcomes} == {spec.macs}
    assert outcomes[0].losses != outcomes[1].losses == outcomes[2].losses
    again = run_trial(setting, Assignment(weighty, tmp_path / "state.safetensors"), lambda: None)
    assert (again.soft == outcomes[1].soft).all()
    torch.save(network_of(replace(spec, classes=7), seed=5).state_dict(), file)
    with pytest.raises(UserError, match=r"digest \w+\) are not those that the run began with"):
        run_trial(setting, Assignment(weighty), lambda: None)
