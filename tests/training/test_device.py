import pytest
import torch

from scalesearch.errors import UserError
from scalesearch.training.device import choose_device, epoch_seed, set_threads, uses_bf16


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.usefixtures("two_gpus")
def test_gpus_by_name() -> None:
    names = {"auto": "cuda:0", "cuda": "cuda:0", "cuda:1": "cuda:1", "cpu": "cpu"}
    assert {name: str(choose_device(name)) for name in names} == names
    with pytest.raises(UserError, match="cuda:2 was asked for, but torch can use 2 GPUs, cuda:0 to cuda:1"):
        choose_device("cuda:2")


@pytest.mark.usefixtures("no_gpu")
def test_without_a_gpu() -> None:
    assert choose_device("auto") == torch.device("cpu")
    with pytest.raises(UserError, match="cuda:0 was asked for, but torch can use no GPU"):
        choose_device("cuda")


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "cuda:-1", "", "mps"])
def test_a_name_that_is_no_device(name: str) -> None:
    with pytest.raises(UserError, match="is none of auto, cpu, cuda, or cuda: and a number"):
        choose_device(name)


def test_precision_on_the_cpu() -> None:
    cpu = torch.device("cpu")
    assert [uses_bf16(cpu, precision) for precision in ("auto", "fp32", "bf16")] == [False, False, True]


def test_epoch_seeds_are_all_different() -> None:
    assert len({epoch_seed(seed, epoch) for seed in range(20) for epoch in range(20)}) == 400


def test_threads() -> None:
    before = torch.get_num_threads()
    set_threads(1)
    assert torch.get_num_threads() == 1
    set_threads(before)
    with pytest.raises(UserError, match="threads: 0 is not at least 1"):
        set_threads(0)
