"""What a publisher says of weights that tensors do not, against timm itself."""

import fnmatch
import json
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch

from benchmarks.peers.networks import FAMILIES, body_params, difference, facts_of, loaded, preprocessing, randomised
from scalesearch.design.space import load_space
from scalesearch.errors import UserError
from scalesearch.nets import publishers
from scalesearch.nets.identify import Identified
from scalesearch.nets.publishers import known_network, published
from scalesearch.nets.sources import Stated, adopted, open_weights
from scalesearch.nets.weights import PIXELS

B0 = load_space("efficientnet_b0").baseline
TABLE = publishers._table()


@pytest.mark.parametrize("name", TABLE["networks"])
def test_the_table_says_what_timm_says(name: str) -> None:
    with torch.device("meta"):
        peer = timm.create_model(name)
    facts = TABLE["networks"][name]
    assert {key: facts[key] for key in ("eps", "padding", "activation")} == facts_of(peer)
    assert facts["params"] == body_params(peer)


def test_the_table_has_timms_preprocessing() -> None:
    theirs = preprocessing()
    for name, facts in TABLE["weights"].items():
        if name in theirs:  # of this version
            assert facts == theirs[name]
    assert all(any(fnmatch.fnmatch(name, family) for family in FAMILIES) for name in TABLE["networks"])


@pytest.mark.parametrize(
    "name", ["tf_efficientnet_b0", "tf_efficientnet_lite0", "mobilenetv3_small_050", "tf_mobilenetv3_small_minimal_100"]
)
def test_a_named_file_computes_what_timm_computes(name: str, tmp_path: Path) -> None:
    peer = randomised(timm.create_model(name, num_classes=7))
    torch.save(peer.state_dict(), tmp_path / "net.pth")
    source = open_weights(str(tmp_path / "net.pth"), B0, Stated(network=f"timm:{name}"))
    found = Identified(source.spec, source.spec, dict(source.state), "timm")
    assert difference(peer, loaded(source.spec, found)) <= 1e-6
    bare = open_weights(str(tmp_path / "net.pth"), B0)
    assert difference(peer, loaded(bare.spec, found)) > 1e-4
    assert bare.assumed.startswith("tensors named as timm's, ")
    assert (source.stated, bare.stated, source.assumed) == (True, False, "")


def test_what_is_stated_is_adopted_by_who_inherits(tmp_path: Path) -> None:
    torch.save(timm.create_model("tf_efficientnet_b0").state_dict(), tmp_path / "net.pth")
    named = open_weights(str(tmp_path / "net.pth"), B0, Stated(network="timm:tf_efficientnet_b0.ap_in1k"))
    said = open_weights(str(tmp_path / "net.pth"), B0, Stated("same", 1e-3))
    assert named.spec.resolution == 224
    assert json.loads(named.metadata[PIXELS])["mean"] == [0.5, 0.5, 0.5]
    for source in (named, said):
        target = adopted(replace(B0, classes=3), source)
        assert (target.padding, target.batch_norm.eps, target.classes) == ("same", 1e-3, 3)
    assert adopted(B0, open_weights(str(tmp_path / "net.pth"), B0)) == B0


def test_tensors_of_another_network_than_named_are_refused(tmp_path: Path) -> None:
    torch.save(timm.create_model("tf_efficientnet_lite0").state_dict(), tmp_path / "net.pth")
    with pytest.raises(UserError, match="its body has 3371008 parameters, and that of timm's tf_efficientnet_lite1"):
        open_weights(str(tmp_path / "net.pth"), B0, Stated(network="timm:tf_efficientnet_lite1"))


@pytest.mark.parametrize(
    ("named", "says"),
    [("timm:tf_efficientnet_b00", "Did you mean tf_efficientnet_b0"), ("timm:resnet50d", "none of the networks"),
     ("timm:efficientnet_b0.nothing", "none of the networks")],
)  # fmt: skip
def test_names_that_are_not_in_the_table(named: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        published(named)


def test_weights_are_fetched_by_timm_or_it_is_said_how_to_bring_them(monkeypatch: pytest.MonkeyPatch) -> None:
    peer = timm.create_model("efficientnet_b0")

    def offline(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(UserError, match=r"cannot fetch.*--weights FILE --source timm:efficientnet_b0\.ra"):
        open_weights("timm:efficientnet_b0", B0)
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained: peer)
    source = open_weights("timm:efficientnet_b0", B0)
    assert source.name == "timm:efficientnet_b0.ra_in1k"
    assert (source.spec.stages, source.licence) == (B0.stages, "apache-2.0")


@pytest.mark.parametrize("named", ["imagenet", "efficientnet_b0", "timm:efficientnet_b0", "."])
def test_a_source_is_of_a_file(named: str) -> None:
    with pytest.raises(UserError, match=r"--source timm:efficientnet_b0: .* is no file"):
        open_weights(named, B0, Stated(network="timm:efficientnet_b0"))


def test_networks_without_weights_of_their_own_can_be_named() -> None:
    one = published("timm:mnasnet_050")
    assert (one.name, one.resolution) == ("mnasnet_050", 224)
    assert known_network(one).name == "mnasnet1_0"
