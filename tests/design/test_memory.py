from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalesearch.design.cost import cost
from scalesearch.design.memory import (
    Runtime,
    block_live,
    block_stored,
    classifier_live,
    classifier_stored,
    head_live,
    head_stored,
    image_bytes,
    live_bytes,
    peak_bytes,
    stem_live,
    stem_stored,
    stored_bytes,
    waiting_bytes,
)
from scalesearch.design.space import load_space, space_names
from scalesearch.design.spec import Head, NetSpec, Stage, Stem

RUNTIMES: tuple[Runtime, ...] = ("torch", "onnxruntime", "board")
B0 = load_space("efficientnet_b0").baseline
SPEC = NetSpec("one", 32, Stem(16), (Stage(16, 1),), Head(32))
BLOCKS = ("mbconv", "fused_mbconv", "basic", "bottleneck")
AREA = 64**2


def sides(*values: int) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    return np.array(values, np.int64)


def live(stage: Stage, width_in: int, stride: int, runtime: Runtime, side: int = 64, spec: NetSpec = SPEC) -> float:
    return float(block_live(spec, stage, width_in, stride, sides(side), runtime)[0])


# Golden: torch's are what its allocator counted (benchmarks/device/memory.py), to the byte.
@pytest.mark.parametrize(
    ("name", "px", "torch", "onnxruntime", "int8"),
    [
        ("efficientnet_b0", 224, 11_039_488, 10_235_904, 3_612_672),
        ("efficientnet_lite0", 96, 2_028_288, 1_216_512, 461_184),
        ("mobilenet_v3_small", 96, 479_808, 340_992, 90_144),
        ("resnet18", 224, 10_553_392, 4_616_192, 1_003_520),
        ("mbconv_small", 32, 348_928, 242_816, 79_872),
    ],
)
def test_golden_bytes(name: str, px: int, torch: int, onnxruntime: int, int8: int) -> None:
    spec = replace(load_space(name).baseline, resolution=px)
    assert (live_bytes(spec), live_bytes(spec, "onnxruntime")) == (torch, onnxruntime)
    assert live_bytes(spec, "board") == int8


def test_an_mbconv_block_by_hand() -> None:
    """Stride 1, 16 → 64 → 16 channels: SiLU, squeeze-excitation, a shortcut that waits."""
    stage = Stage(16, 2, 3, 1, expand_ratio=4)
    # torch: the block's input, what depthwise reads, writes, and its normalised copy
    assert live(stage, 16, 1, "torch") == 4 * ((16 + 64 + 64 + 64) * AREA + 2 * 64)
    # ONNX Runtime: the input; SiLU's operand and result, or squeeze-excitation's copy with pooled channels
    assert live(stage, 16, 1, "onnxruntime") == 4 * ((16 + 64 + 64) * AREA + 3 * 64)
    # a board: the input; a map, its sigmoid and their product
    assert live(stage, 16, 1, "board") == (16 + 3 * 64) * AREA


def test_a_block_without_shortcut_frees_its_input_where_the_runtime_can() -> None:
    stage = Stage(32, 1, 3, 2, expand_ratio=4, se_ratio=0, activation="relu")
    small = AREA / 4
    # torch holds the argument of a module that runs: input, expanded and its copy
    assert live(stage, 16, 2, "torch") == 4 * ((16 + 64 + 64) * AREA + 2 * 64)
    assert live(stage, 16, 2, "onnxruntime") == 4 * (64 * AREA + 64 * small)
    # symmetric padding is an operator of its own: 64 px become 66
    assert live(stage, 16, 2, "board") == 64 * AREA + 64 * 66**2
    same = replace(SPEC, padding="same")
    assert live(stage, 16, 2, "board", spec=same) == (16 + 64) * AREA
    # torch pads into a tensor of its own, one pixel wider, while the depthwise convolution runs
    padded = 16 * AREA + 64 * (AREA + 65**2 + small) + 9 * 64
    assert live(stage, 16, 2, "torch", spec=same) == 4 * padded


@pytest.mark.parametrize("side", [64, 18, 8])
def test_a_residual_block_by_hand(side: int) -> None:
    """Two 3×3 convolutions of 64 channels: a copy of their weights, or on small maps a matrix of columns; or else what
    batch norm makes of the second's output."""
    stage = Stage(64, 1, 3, 1, expand_ratio=1, se_ratio=0, block="basic", activation="relu")
    one = 64 * side**2
    workspace = 9 * one if one <= 20480 else 9 * 64 * 64 + 3084
    assert live(stage, 64, 1, "torch", side) == 4 * (3 * one + max(workspace, one + 2 * 64))
    assert live(stage, 64, 1, "onnxruntime", side) == 4 * 2 * 64 * side**2  # summed over the input


def test_onnx_runtime_copies_narrow_maps_into_plain_order() -> None:
    """8 → 32 → 8 channels: fewer than a vector of 16, which the block's input and output are padded to."""
    stage = Stage(8, 1, 3, 1, expand_ratio=4, se_ratio=0, activation="relu")
    assert live(stage, 8, 1, "onnxruntime") == 4 * (16 + 32 + 32) * AREA
    thin = replace(stage, expand_ratio=1)  # depthwise reads whole vectors, what follows plain order
    assert live(thin, 8, 1, "onnxruntime") == 4 * (16 + 16 + 8) * AREA


def test_a_projection_waits_beside_the_branch() -> None:
    stage = Stage(256, 1, 3, 1, expand_ratio=0.25, se_ratio=0, block="bottleneck", activation="relu")
    assert live(stage, 64, 1, "onnxruntime") == 4 * (64 + 64 + 256) * AREA
    assert live(stage, 64, 1, "torch") == 4 * ((64 + 256 + 256 + 256) * AREA + 2 * 256)
    assert live(stage, 64, 1, "board") == 3 * 256 * AREA


def test_a_fused_block_by_hand() -> None:
    single = Stage(32, 2, 3, 1, expand_ratio=1, se_ratio=0, block="fused_mbconv")
    assert live(single, 32, 1, "onnxruntime") == 4 * 3 * 32 * AREA  # SiLU's operand and result beside the input
    assert live(single, 32, 1, "torch") == 4 * (3 * 32 * AREA + 2 * 32)
    relu = replace(single, activation="relu")
    assert live(relu, 32, 1, "onnxruntime") == 4 * 2 * 32 * AREA


def test_max_pool_hidden_layers_and_a_missing_head() -> None:
    spec = replace(SPEC, stem=Stem(32, 7, 2, max_pool=True), activation="relu", head=Head(0, hidden=50), classes=10)
    image, stem = 3 * AREA, 32 * 32**2
    assert stem_live(spec, 32, sides(64), "onnxruntime")[0] == 4 * (image + stem + stem / 4)
    assert head_live(spec, 16, 0, sides(8), "torch")[0] == 4 * 16 * 64
    assert head_live(spec, 16, 0, sides(8), "onnxruntime")[0] == 2 * 4 * 16 * 64  # pooling reads a copy
    assert classifier_live(spec, 16, "torch") == 4 * (16 + 2 * 50 + 10)


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("name", space_names())
def test_a_peak_is_weights_and_the_most_of_any_part(name: str, runtime: Runtime) -> None:
    spec = load_space(name).baseline
    side, width_in = spec.resolution, spec.stem.width
    images = image_bytes(spec, sides(side), runtime)
    held = [stem_live(spec, width_in, sides(side), runtime)]
    added = stem_stored(spec, width_in, runtime)
    side = -(-side // spec.stem.reduction)
    for stage in spec.stages:
        held.append(images + block_live(spec, stage, width_in, stage.stride, sides(side), runtime))
        waiting = waiting_bytes(width_in, sides(side), runtime)
        added += block_stored(stage, width_in, stage.stride, runtime)
        side, width_in = -(-side // stage.stride), stage.width
        if stage.depth > 1:
            held.append(images + waiting + block_live(spec, stage, width_in, 1, sides(side), runtime))
            added += (stage.depth - 1) * block_stored(stage, width_in, 1, runtime)
    held.append(images + head_live(spec, width_in, spec.head.width, sides(side), runtime))
    held.append(images + classifier_live(spec, spec.pooled_width, runtime))
    added += head_stored(width_in, spec.head.width, runtime) + classifier_stored(spec, spec.pooled_width, runtime)
    assert stored_bytes(spec, runtime) == added
    assert live_bytes(spec, runtime) == max(float(part[0]) for part in held)
    assert peak_bytes(spec, runtime) == added + live_bytes(spec, runtime)


def test_weights_in_bytes() -> None:
    params = cost(B0).params
    # batch norm's running statistics (torchvision's state dict of B0: 21 429 112 bytes of numbers)
    assert stored_bytes(B0, "torch") == 4 * (params + 42_016) + 8 * 49
    assert 4 * params * 0.99 < stored_bytes(B0, "onnxruntime") < 4 * params * 1.01
    assert params < stored_bytes(B0, "board") < 1.05 * params


def test_int8_is_a_boards_plan_whatever_the_runtime() -> None:
    assert peak_bytes(B0, "torch", dtype="int8") == peak_bytes(B0, "board") == peak_bytes(B0, "board", dtype="int8")
    assert 3.4 < peak_bytes(B0) / peak_bytes(B0, dtype="int8") < 4.2


def test_many_sides_at_once_are_each_of_them() -> None:
    stage, several = B0.stages[2], sides(7, 8, 31, 64, 113)
    for runtime in RUNTIMES:
        at_once = block_live(B0, stage, 24, 2, several, runtime)
        assert at_once.dtype == np.float64
        assert at_once.tolist() == [live(stage, 24, 2, runtime, int(side), B0) for side in several]


STAGES = st.builds(
    Stage,
    width=st.integers(1, 40),
    depth=st.integers(1, 3),
    kernel=st.sampled_from([1, 3, 5]),
    stride=st.integers(1, 2),
    expand_ratio=st.sampled_from([1, 2, 6]),
    se_ratio=st.just(0),
    block=st.sampled_from(BLOCKS),
    activation=st.sampled_from([None, "relu", "hardswish"]),
)
SPECS = st.builds(
    NetSpec,
    name=st.just("random"),
    resolution=st.integers(9, 200),
    stem=st.builds(Stem, width=st.integers(1, 40), max_pool=st.booleans()),
    stages=st.lists(STAGES, min_size=1, max_size=4).map(tuple),
    head=st.builds(Head, width=st.integers(0, 100), hidden=st.sampled_from([0, 20])),
    padding=st.sampled_from(["symmetric", "same"]),
)


def larger_images(spec: NetSpec) -> NetSpec:
    return replace(spec, resolution=2 * spec.resolution)


def wider(spec: NetSpec) -> NetSpec:
    stages = tuple(replace(stage, width=2 * stage.width) for stage in spec.stages)
    head = replace(spec.head, width=2 * spec.head.width)
    return replace(spec, stem=replace(spec.stem, width=2 * spec.stem.width), stages=stages, head=head)


def deeper(spec: NetSpec) -> NetSpec:
    return replace(spec, stages=tuple(replace(stage, depth=stage.depth + 1) for stage in spec.stages))


@given(SPECS, st.sampled_from(RUNTIMES), st.sampled_from([larger_images, wider, deeper]))
def test_what_is_larger_takes_no_less(spec: NetSpec, runtime: Runtime, change: Callable[[NetSpec], NetSpec]) -> None:
    # of one image torch's columns can be more than the weights that it copies for a larger one
    assert live_bytes(change(spec), runtime, 2) >= live_bytes(spec, runtime, 2)
    assert stored_bytes(change(spec), runtime) >= stored_bytes(spec, runtime)


@given(SPECS, st.sampled_from(RUNTIMES), st.integers(2, 64))
def test_a_batch_multiplies_activations_at_most(spec: NetSpec, runtime: Runtime, batch_size: int) -> None:
    two, more = live_bytes(spec, runtime, 2), live_bytes(spec, runtime, 2 * batch_size)
    assert two <= more <= batch_size * two
    assert peak_bytes(spec, runtime, 2) - two == peak_bytes(spec, runtime, 2 * batch_size) - more


@given(SPECS)
def test_no_runtime_takes_less_than_a_network_must_have(spec: NetSpec) -> None:
    image = spec.in_channels * spec.resolution**2
    for runtime in RUNTIMES:
        assert live_bytes(spec, runtime) > image * (1 if runtime == "board" else 4)
