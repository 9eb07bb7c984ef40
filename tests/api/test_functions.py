"""The package as a Python program uses it: the same work as the command line's, as functions."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import scalesearch
from scalesearch.api import finetune, search
from scalesearch.api.options import Budget, SearchOptions
from scalesearch.api.search import usual_folder
from scalesearch.design.cost import cost
from scalesearch.design.measure import FLOPS
from scalesearch.design.space import spaces_folder
from scalesearch.nets.modules import MBConvNet
from scalesearch.running.estimate import Timing
from scalesearch.running.workers import Workers, usual_jobs
from scalesearch.study.plan import trial
from scalesearch.training.memory import least_memory
from scalesearch.units import show_percent
from tests.conftest import MakeFolder
from tests.rows import make_row

HEAVY = ("torch", "numpy", "pandas", "optuna", "matplotlib", "rich", "typer")


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = f"import sys, scalesearch; print([m for m in {HEAVY} if m in sys.modules]); print(scalesearch.PAPER.alpha)"
    lines = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split("\n")
    assert lines[:2] == ["[]", "1.2"]


def test_every_public_name_is_there() -> None:
    for name in scalesearch.__all__:
        assert getattr(scalesearch, name).__doc__ is not None
    assert set(scalesearch.__all__) <= set(dir(scalesearch))
    with pytest.raises(AttributeError, match="nothing_such"):
        scalesearch.nothing_such  # type: ignore[attr-defined]  # noqa: B018


def test_the_device_chooses_batch_size_and_rate_unless_they_are_given(image_folder: MakeFolder) -> None:
    images = image_folder()

    def chosen(**given: object) -> tuple[int, float]:
        asked = SearchOptions(data=images, space="mbconv_small", target_flops="1.5M", **given)  # type: ignore[arg-type]
        train = search.prepare(asked).plan.train
        return train.batch_size, train.lr

    gpu: dict[str, object] = {"executor": "ray", "gpus_per_trial": 1}
    assert chosen(device="cpu") == (32, 0.004)
    assert chosen(**gpu) == (128, 0.006)
    assert chosen(device="cpu", batch_size=16, lr=0.1) == chosen(batch_size=16, lr=0.1, **gpu) == (16, 0.1)


def test_a_gpu_has_eight_trainings_at_a_time_or_as_many_as_half_its_memory_holds(
    image_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = search.prepare(SearchOptions(data=image_folder(), space="mbconv_small", target_flops="1.5M", device="cpu"))
    trials = [trial(job.plan, job.enumeration.candidates, (number, 0, 1)) for number in (-1, 0, 1)]
    least = max(least_memory(one.trained, one.train) for one in trials)
    monkeypatch.setattr("scalesearch.running.workers.cores", lambda: 16)
    monkeypatch.setattr("scalesearch.running.workers.roomy_workers", lambda: 16)
    monkeypatch.setattr("scalesearch.api.search.available_memory", lambda device: 10**12)
    assert (usual_jobs("cpu", 2), usual_jobs("cuda:0", 2)) == (8, 8)
    many = Workers(usual_jobs("cuda:0"))
    for share, jobs in ((100, 8), (20, 5), (4.1, 1), (2, 1)):
        monkeypatch.setattr("scalesearch.api.search.total_memory", lambda device, share=share: int(share * least))
        assert search.within_memory(many, None, "cuda:0", trials).jobs == jobs
        assert search.within_memory(many, None, "cpu", trials).jobs == 8
        assert search.within_memory(Workers(None, "ray"), None, "cuda:0", trials).jobs is None


def prepared(images: Path, **given: object) -> search.SearchJob:
    return search.prepare(SearchOptions(data=images, space="mbconv_small", target_flops="1.5M", device="cpu", **given))  # type: ignore[arg-type]


def test_what_is_asked_of_a_race(image_folder: MakeFolder) -> None:
    images = image_folder()
    job = prepared(images)
    assert (job.race.seeds, job.race.further) == (1, len(job.enumeration.candidates) // 2)
    assert (job.race.tolerance, job.race.level) == (0.005, 0.9)
    asked = prepared(images, seeds=2, further=7, until_loss=2, level=0.8).race
    assert (asked.seeds, asked.further, asked.tolerance, asked.level) == (2, 7, 0.02, 0.8)
    assert prepared(images, time_budget="1h").race.further is None  # as many as fit
    assert prepared(images, time_budget="1h", further=7).race.further == 7
    for given, further in (({}, 0), ({"further": 7}, 7), ({"time_budget": "1h"}, None)):
        everything = prepared(images, exhaustive=True, **given).race
        assert (everything.order, everything.seeds, everything.further) == (0, 3, further)
    assert prepared(images, seeds=2, further=7).plan == job.plan  # so that they continue the same search


def test_a_large_baseline_is_trained_as_small_as_asked(image_folder: MakeFolder) -> None:
    images = image_folder()

    def trained(**given: object) -> search.SearchJob:
        return search.prepare(SearchOptions(data=images, space="efficientnet_b0", device="cpu", **given))  # type: ignore[arg-type]

    full = trained(proxy_flops="1G")
    assert full.plan.proxy.baseline == full.plan.baseline
    assert all(candidate.trained == candidate.spec for candidate in full.enumeration.candidates)
    for shrinking in ("family", "full-depth", "resolution"):
        small = trained(proxy_flops="20M", proxy=shrinking)
        assert small.plan.baseline == full.plan.baseline
        assert cost(small.plan.proxy.baseline).macs == pytest.approx(20e6, rel=0.1)
        assert all(abs(candidate.proxy_ratio / 2 - 1) <= 0.05 for candidate in small.enumeration.candidates)
        same_blocks = small.plan.proxy.baseline.depths == full.plan.baseline.depths
        assert same_blocks == (shrinking != "family")


def test_a_time_budget_counts_from_the_call_and_is_held_by_trainings_as_long_as_they_really_are(
    image_folder: MakeFolder,
) -> None:
    job = prepared(image_folder(), time_budget="1h", epochs=1)
    one = trial(job.plan, job.enumeration.candidates, (0, 0, 1))
    expected = search.Forecast((), (), Timing(0.0, 60.0, ((1, 0.0),), 32, 0, 16, 1), 0.0)
    silent = search.listener(None)
    within, told = search.bounded(job, silent, expected)
    assert within.allow(one)
    told.finished(make_row(1, 0, 1, seconds=7200.0), 1, 9)  # not a minute, as was estimated
    assert not within.allow(one)
    asked_long_ago = dataclasses.replace(job, began=job.began - 3600)
    assert not search.bounded(asked_long_ago, silent, expected)[0].allow(one)


@pytest.mark.usefixtures("one_figure")
def test_from_images_to_predictions(image_folder: MakeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    images, heard = image_folder(images=60, parts=("train", "test")), []
    found = scalesearch.grid(
        images, space="mbconv_small", target_flops="1.5M", step=0.5, tolerance=0.3, epochs=4, batch_size=8, lr=0.01,
        jobs=1, tell=heard.append,
    )  # fmt: skip
    assert found.folder == Path("runs/mbconv_small-images-1.5M")
    assert found.answer.complete
    assert len(heard) == len(found.rows)
    assert found.answer.recommended in found.credible_set
    assert found.answer.undecided == ""
    assert {"depth_ratio", "accuracy", "low", "high", "score", "member"} <= set(found.table.columns)
    assert found.coefficients.nominal_ratio == pytest.approx(2, abs=0.3)
    json.dumps(found.to_dict())
    assert scalesearch.searched(found.folder).to_dict() == found.to_dict()
    html = found._repr_html_()
    assert all(standing.name in html for standing in found.answer.standings)
    assert found.figure().axes
    assert found.report().read_text().startswith("<!DOCTYPE html>")

    family = found.family(largest=1)
    assert list(family.table["name"]) == ["b0", "b1"]
    assert family["b1"].spec == found.scale(1)
    assert "b1" in family._repr_html_()
    with pytest.raises(KeyError, match="b0, b1"):
        family["b7"]

    small = scalesearch.finetune(family["b0"].spec, images, run=found.folder, epochs=2, batch_size=16, device="cpu")
    heard.clear()
    model = scalesearch.finetune(
        "b1", images, run=found.folder, weights=small.file, epochs=2, batch_size=16, device="cpu", tell=heard.append
    )
    assert model.file == found.folder / "models" / "b1-images" / "model.safetensors"
    assert heard[0] == f"Strategy: {model.metrics['config']['strategy']} ({model.metrics['strategy_why']})"
    assert sum(line.startswith("epoch ") for line in heard) == 2
    assert model.interval[0] <= model.top1 <= model.interval[1]
    assert show_percent(model.top1) in model._repr_html_()
    judged = scalesearch.evaluate(model)
    assert (judged.top1, judged.part) == (model.top1, "test")
    assert "class1" in judged._repr_html_()
    said = scalesearch.predict(model, images / "test", top=1)
    assert sum(one.label == Path(one.file).parent.name for one in said) == judged.values["correct"]
    network = scalesearch.load_model(model.file)
    assert isinstance(network, MBConvNet)
    assert network.spec.digest == model.network().spec.digest
    with pytest.raises(scalesearch.UserError, match="another search"):
        scalesearch.grid(images, space="mbconv_small", target_flops=1.5e6, step=0.5, tolerance=0.3, epochs=2, jobs=1)


def test_the_same_word_means_the_same_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text(
        (spaces_folder() / "mbconv_small.toml").read_text().replace('"mbconv_small"', '"mine"')
    )
    small = finetune.FinetuneOptions("mine.toml", "glyphs", resolution=16)
    job = finetune.prepare(small)
    assert (job.spec.name, job.choice.strategy, job.source) == ("mine", "full", None)
    assert job.spec.stages == scalesearch.baseline("mine.toml").stages
    scratch = finetune.prepare(dataclasses.replace(small, weights="scratch"))
    assert (scratch.source, scratch.choice) == (None, job.choice)
    plan = search.prepare(search.SearchOptions("glyphs", space="mine.toml", weights="scratch")).plan
    assert plan.weights is None
    for weights in (None, "scratch"):
        with pytest.raises(scalesearch.UserError, match="Give --weights, or --strategy full"):
            scalesearch.finetune("mine.toml", "glyphs", weights=weights, strategy="head")
    with pytest.raises(scalesearch.UserError, match="released member"):
        scalesearch.finetune("nowhere.toml", "glyphs")


def test_sizes_name_folders_as_people_write_them() -> None:
    assert usual_folder("s", "d", Budget(FLOPS, 1.5e6, "").size) == Path("runs/s-d-1.5M")
    assert usual_folder("s", "d", Budget(FLOPS, 123_456_000.0, "").size) == Path("runs/s-d-123.456M")
    assert usual_folder("s", "d", Budget(FLOPS, None, "").size) == Path("runs/s-d-own")
    assert usual_folder("s", "d", Budget(FLOPS, None, "").size, seed=2) == Path("runs/s-d-own-seed2")


def test_networks_are_scaled_as_by_the_command_line() -> None:
    b3 = scalesearch.scale("efficientnet_b0", 3, rounding="efficientnet")
    assert (b3.name, b3.resolution) == ("b3", 341)
    solved = scalesearch.scale("efficientnet_b0", flops="1.8G")
    assert scalesearch.scale("efficientnet_b0", float(solved.name.removeprefix("b_phi"))).digest == solved.digest
    assert [one.spec.digest for one in scalesearch.family(scalesearch.baseline(), largest=2)][1] == scalesearch.scale(
        scalesearch.load_space("efficientnet_b0").baseline, 1
    ).digest
    for wrong in ({}, {"phi": 1.0, "flops": 1e9}):
        with pytest.raises(scalesearch.UserError, match="give one of --phi, --flops and --latency"):
            scalesearch.scale("efficientnet_b0", **wrong)  # type: ignore[arg-type]


def test_what_notebooks_show_is_escaped() -> None:
    spec = dataclasses.replace(scalesearch.baseline("mbconv_small"), name="<script>alert(1)</script>")
    html = spec._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert html.count("<tr>") == len(spec.stages) + 4
    assert spec.digest in html


def alive(spec: scalesearch.NetSpec, seed: int) -> MBConvNet:
    """A network whose statistics have seen images, so that its logits are no dust."""
    network = scalesearch.build(spec, seed=seed)
    images = torch.randn(8, 3, 64, 64, generator=torch.Generator().manual_seed(seed))
    with torch.inference_mode():
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = 1.0
        network(images)
        assert network.eval()(images).std() > 0.01
    return network


@pytest.mark.parametrize(
    ("space", "phi"), [("efficientnet_b0", -2), ("mobilenet_v2", 0), ("mobilenet_v3_small", 0), ("resnet18", 0)]
)
def test_torchvisions_module_computes_the_same(space: str, phi: float) -> None:
    spec = dataclasses.replace(scalesearch.scale(space, phi), classes=7, resolution=64)
    network = alive(spec, seed=3)
    module = scalesearch.to_torchvision(network)
    assert type(module).__module__.startswith("torchvision.models.")
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(module(images), network(images))


def test_torchvision_has_resnets_of_its_own_widths_alone() -> None:
    with pytest.raises(scalesearch.UserError, match="torchvision has no module for"):
        scalesearch.to_torchvision(scalesearch.build(scalesearch.scale("resnet18", -2), seed=0))


def test_a_network_is_a_drop_in_for_torchvisions_efficientnet() -> None:
    """State dicts go both ways under the same names, and code that reads the module's parts finds them."""
    from torchvision.models.feature_extraction import create_feature_extractor

    spec = dataclasses.replace(scalesearch.scale("efficientnet_b0", -2), resolution=64)
    network, module = alive(spec, seed=1), scalesearch.to_torchvision(alive(spec, seed=2))
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        ours, theirs = network(images), module(images)
        assert not torch.allclose(ours, theirs)
        first = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        network.load_state_dict(module.state_dict())
        torch.testing.assert_close(network(images), theirs)
        module.load_state_dict(first)
        torch.testing.assert_close(module(images), ours)
        features = create_feature_extractor(network, {"features.8": "maps"})(images)["maps"]
    assert features.shape == (2, spec.head.width, 2, 2)
    network.classifier[1] = torch.nn.Linear(spec.head.width, 5)
    assert network(images).shape == (2, 5)
