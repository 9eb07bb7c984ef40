"""The closed form of peak memory against what allocators count. Channels are multiples of 16, so that processors with
shorter vectors than AVX-512's pad no less."""

from dataclasses import replace

import pytest

from benchmarks.device.peak import NoStatistics, onnx_graph, onnxruntime_held, onnxruntime_live, torch_live
from scalesearch.design.memory import live_bytes
from scalesearch.design.spec import Head, NetSpec, Stage, Stem


def network(*stages: Stage, **settings: object) -> NetSpec:
    return replace(NetSpec("small", 65, Stem(16), stages, Head(64), classes=5), **settings)  # type: ignore[arg-type]


MBCONV = network(Stage(16, 1, 3, 1, expand_ratio=1), Stage(32, 2, 5, 2, expand_ratio=4))
NETWORKS = {
    "mbconv": MBCONV,
    "tensorflow's padding": replace(MBCONV, padding="same", activation="relu6"),
    "hardswish": replace(MBCONV, activation="hardswish"),
    "mobilenet_v3": network(Stage(32, 2, 3, 2, expand_ratio=3, squeeze="mobilenet_v3"), activation="relu"),
    "fused": network(
        Stage(16, 2, 3, 1, expand_ratio=1, se_ratio=0, block="fused_mbconv"),
        Stage(32, 2, 3, 2, expand_ratio=4, se_ratio=0, block="fused_mbconv"),
    ),
    "basic": network(
        Stage(32, 2, 3, 2, expand_ratio=1, se_ratio=0, block="basic"), activation="relu", head=Head(0),
        stem=Stem(16, 7, max_pool=True),
    ),
    "bottleneck": network(
        Stage(64, 2, 3, 1, expand_ratio=0.25, se_ratio=0, block="bottleneck"), activation="relu",
        head=Head(0, hidden=16),
    ),
}  # fmt: skip
# Where two blocks far from each other make maps of one shape, ONNX Runtime holds a buffer between them: not here.
MIXED = network(
    Stage(16, 1, 3, 1, expand_ratio=1), Stage(32, 2, 5, 2, expand_ratio=4, activation="relu"),
    Stage(32, 2, 3, 1, expand_ratio=3, se_ratio=0, block="fused_mbconv"),
    Stage(64, 2, 3, 2, expand_ratio=0.25, se_ratio=0, block="bottleneck"),
)  # fmt: skip


@pytest.mark.parametrize(("name", "batch_size"), [*((name, 1) for name in NETWORKS), ("mbconv", 3), ("basic", 3)])
def test_torchs_allocator_counts_what_the_closed_form_says(name: str, batch_size: int) -> None:
    spec = NETWORKS[name]
    assert live_bytes(spec, "torch", batch_size) == pytest.approx(torch_live(spec, batch_size), rel=0.02)


def test_onnx_runtimes_arena_counts_what_the_closed_form_says() -> None:
    graph = onnx_graph(MIXED)
    try:
        measured = {batch_size: onnxruntime_live(graph, MIXED, batch_size) for batch_size in (1, 3)}
    except NoStatistics as version:
        pytest.skip(f"onnxruntime {version} does not tell")
    for batch_size, live in measured.items():
        assert live_bytes(MIXED, "onnxruntime", batch_size) == pytest.approx(live, rel=0.02)
    assert onnxruntime_held(graph, MIXED) > measured[1]
