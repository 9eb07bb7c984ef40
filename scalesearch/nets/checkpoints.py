"""The tensors of other people's checkpoints: which of the dicts in a file holds the weights, without its wrappers."""

import argparse
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from scalesearch.errors import UserError

# What training scripts keep beside the weights: torch's reader builds these and nothing else. A file names the maker of
# NumPy's scalars as the NumPy that wrote it did, 1 or 2.
_SCALAR: Any = np.float64(0).__reduce__()[0]
SAFE_GLOBALS: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    argparse.Namespace, np.dtype, (_SCALAR, "numpy.core.multiarray.scalar"), (_SCALAR, "numpy._core.multiarray.scalar"),
    *(type(np.dtype(name)) for name in ("float16", "float32", "float64", "int32", "int64", "bool")),
]  # fmt: skip
# Names that weights go by, the best first: averaged ones are those that a training script evaluates.
AVERAGED = ("state_dict_ema", "model_state_dict_ema", "ema_state_dict", "model_ema", "params_ema", "ema")
USUAL = ("state_dict", "model_state_dict", "model", "net", "network", "weights", "params", "module")
DEEPEST = 3
SHOWN = 5
WRAPPERS = re.compile(r"^(?:module\.|_orig_mod\.|model\.)+")  # left by DataParallel, torch.compile and Lightning


@dataclass(frozen=True, eq=False)
class Weights:
    """Tensors under names, and how they were come by, "" where the file holds nothing else."""

    state: dict[str, Tensor]
    said: str = ""


def weights_in(content: Any, where: str) -> Weights:
    """The weights in what a file holds: the dict that has tensors under names; of several an averaged one, else one
    that goes by a usual name.

    Raises:
        UserError: no such dict, or several and none that goes by a usual name.
    """
    if not isinstance(content, Mapping) or not content:
        raise UserError(where, f"it holds a {type(content).__name__} and no tensors under names.")
    found = dict(_dicts(content, "", 0))
    if not found:
        raise UserError(where, f"it holds no tensors under names, only {', '.join(map(str, list(content)[:SHOWN]))}.")
    path = _best(found, where)
    entries = found[path]
    state = {name: value for name, value in entries.items() if isinstance(value, Tensor)}
    said = [f"those under {path}" + _others(found, path)] if path else []
    if others := len(entries) - len(state):
        said.append(f"{others} entries beside them are no tensors")
    return Weights(state, "; ".join(said))


def unwrapped(state: Mapping[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    """The tensors without wrappers' prefixes; then without each further prefix that all names have."""
    given = {WRAPPERS.sub("", name): tensor for name, tensor in state.items()}
    for _ in range(DEEPEST):
        yield given
        parts = {name.partition(".")[0] for name in given if "." in name or given[name].ndim}
        if len(parts) != 1:
            return
        given = {name.partition(".")[2]: tensor for name, tensor in given.items() if "." in name}
    yield given


def _dicts(content: Mapping[Any, Any], path: str, depth: int) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every innermost dict that has tensors of more than one number under names, by its path in the file."""
    inside: list[tuple[str, Mapping[str, Any]]] = []
    if depth < DEEPEST:
        for name, value in content.items():
            if isinstance(value, Mapping) and isinstance(name, str):
                inside += _dicts(value, f"{path}.{name}" if path else name, depth + 1)
    yield from inside
    named = {name: value for name, value in content.items() if isinstance(name, str)}
    if not inside and any(isinstance(value, Tensor) and value.ndim for value in named.values()):
        yield path, named


def _best(found: Mapping[str, Mapping[str, Any]], where: str) -> str:
    """The path of the dict to take."""
    if len(found) == 1:
        return next(iter(found))
    for names in (AVERAGED, USUAL):
        for name in names:
            taken = [path for path in found if name in path.split(".")]
            if len(taken) == 1:
                return taken[0]
    paths = ", ".join(list(found)[:SHOWN])
    raise UserError(where, f"it holds several dicts of tensors ({paths}).", do="Save the one of the weights alone.")


def _others(found: Mapping[str, object], path: str) -> str:
    rest = [other for other in found if other != path]
    return f", not those under {', '.join(rest[:SHOWN])}" if rest else ""
