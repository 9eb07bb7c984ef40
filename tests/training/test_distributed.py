"""Two processes on this machine, by gloo, against one process with the same batches."""

import copy
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from scalesearch.errors import UserError
from scalesearch.study.config import TrainConfig
from scalesearch.training import distributed
from scalesearch.training.classifier import check_shares
from scalesearch.training.distributed import Ranks, gathered, joined, mean, of_first, ranks
from scalesearch.training.step import classification_loss
from tests.training.toys import CPU, STEPS, ToyNet, fit, tensor_hash, toy_batches

CONFIG = TrainConfig(epochs=3, lr=0.02, ema_decay=0.9, accumulate=2)


def quiet(network: ToyNet) -> ToyNet:
    """Without dropout: its noise differs between processes."""
    network.classifier[0].p = network.features[3].stochastic_depth.p = 0.0
    return network


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


STRATEGIES = ("full", "gradual")


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs this file in two processes, a strategy after another; the folder that they wrote to."""
    folder = tmp_path_factory.mktemp("together")
    variables = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    variables["PYTHONPATH"] = str(Path(__file__).parents[2])
    started = [
        subprocess.Popen(
            [sys.executable, __file__, str(folder)], env={**variables, "RANK": str(r), "LOCAL_RANK": str(r)},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for r in range(2)
    ]  # fmt: skip
    for process in started:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        (folder / f"out{started.index(process)}").write_text(out)
    return folder


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_two_processes_follow_one(together: Path, strategy: str) -> None:
    first, second = (json.loads((together / strategy / f"{rank}.json").read_text()) for rank in range(2))
    network = quiet(ToyNet())
    config = TrainConfig(**{**CONFIG.to_dict(), "strategy": strategy})
    history = fit(network, toy_batches, STEPS, config, loss=classification_loss(config), device=CPU)
    assert first["losses"] == second["losses"] == pytest.approx([r.train_loss for r in history], rel=2e-2)
    assert first["losses"] != [r.train_loss for r in history]  # batch-norm statistics are the first process's
    assert first["weights"] == second["weights"]
    assert first["judged"] == 3  # by the first process alone, for both
    assert second["judged"] == 0
    assert first["metrics"] == second["metrics"] == [0, 1, 2]
    assert (together / "out0").read_text() == "seen\n"
    assert (together / "out1").read_text() == ""
    assert (together / strategy / "run.safetensors").exists()


def test_alone_nothing_is_shared() -> None:
    assert ranks() == Ranks(0, 1)
    assert (gathered(3), mean(2.5), of_first("a")) == ([3], 2.5, "a")
    with joined(CPU) as device:
        assert device == CPU
        assert not distributed.distributed.is_initialized()
    network = ToyNet()
    assert distributed.replicated(network, CPU) is network


def worker(folder: Path) -> None:
    torch.set_num_threads(1)
    with joined(CPU) as device:
        print("seen")
        for strategy in STRATEGIES:
            (folder / strategy).mkdir(exist_ok=True)
            train_share(folder / strategy, strategy, device)


def train_share(folder: Path, strategy: str, device: torch.device) -> None:
    """This process's share of a training; what came of it, as a file."""
    judged = []

    def judge(network: torch.nn.Module) -> dict[str, float]:
        judged.append(tensor_hash(network))
        return {"top1": float(len(judged) - 1)}

    rank, network = ranks().rank, quiet(ToyNet(seed=ranks().rank * 7))  # parameters are the first process's
    reference = copy.deepcopy(network.state_dict())
    config = TrainConfig(**{**CONFIG.to_dict(), "strategy": strategy, "accumulate": 1})

    def share(epoch: int) -> object:
        return ((images.chunk(2)[rank], labels.chunk(2)[rank]) for images, labels in toy_batches(epoch))

    history = fit(
        network, share, STEPS, config, loss=classification_loss(config), device=device, evaluate=judge,
        checkpoint=folder / "run.safetensors",
    )  # fmt: skip
    assert set(reference) == set(network.state_dict())
    parameters = [float(parameter.detach().double().sum()) for parameter in network.parameters()]
    values = {
        "losses": [record.train_loss for record in history], "weights": parameters, "judged": len(judged),
        "metrics": [record.metrics["top1"] for record in history],
    }  # fmt: skip
    (folder / f"{rank}.json").write_text(json.dumps(values))


if __name__ == "__main__":
    worker(Path(sys.argv[1]))


def test_images_of_a_step_are_shared_evenly_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scalesearch.training.classifier.ranks", lambda: Ranks(0, 2))
    check_shares(TrainConfig(epochs=1, batch_size=4))
    for images in (2, 3, 5):
        says = rf"{images} images cannot be shared by 2 processes: it takes a multiple of 2, at least 4\."
        with pytest.raises(UserError, match=says):
            check_shares(TrainConfig(epochs=1, batch_size=images))
