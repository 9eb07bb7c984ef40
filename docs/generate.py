"""Writes the reference pages that come from code: docs/reference/cli.md and docs/reference/space-files.md.

python docs/generate.py            writes both
python docs/generate.py --check    says which of them differ from the code, and changes nothing
"""

import inspect
import re
import sys
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from scalesearch.cli.main import app  # noqa: E402
from scalesearch.design import space  # noqa: E402
from scalesearch.design.spec import OF_BLOCK, BatchNorm, Head, NetSpec, Stage, Stem  # noqa: E402
from scalesearch.typed import REQUIRED, TABLE, Rule, rules  # noqa: E402

NOTE = "<!-- Written by docs/generate.py from the code. Do not edit: change the code and run it again. -->"
KINDS = {int: "whole number", float: "number", str: "text", Path: "path"}

# What each key of a space file means. A key without a line here, or a line without a key, is an error.
MEANINGS: dict[str, dict[str, str]] = {
    "": {
        "name": "name of the space; a run's folder begins with it",
        "resolution": "side of the baseline's square images, in pixels",
        "activation": "of every block that names no other",
        "padding": "of the convolutions: `same` for weights that were trained in TensorFlow",
        "width_divisor": "widths are rounded to multiples of it when scaled",
        "dropout": "before the classifier",
        "drop_path": "stochastic depth of the last block; it rises from 0 at the first",
        "in_channels": "channels of an image; data sets give 3",
        "classes": "outputs of the classifier; replaced by those of the data",
    },
    "batch_norm": {
        "eps": "added to the variance",
        "momentum": "weight of the new batch (torch's meaning)",
    },
    "stem": {
        "width": "channels of the first convolution",
        "kernel": "its side",
        "stride": "its stride",
        "scaled": "whether its width grows with β (EfficientNet) or stays (Lite)",
        "max_pool": "whether a 3×3 max-pool of stride 2 follows (ResNet)",
    },
    "stages": {
        "width": "output channels",
        "depth": "blocks",
        "kernel": "side of the depthwise convolution; in ResNet's blocks of the k×k ones",
        "stride": "of the first block; the others have 1",
        "expand_ratio": "width inside a block: times its input in MBConv blocks, times its output in ResNet's",
        "se_ratio": "width of squeeze-excitation as a share of the block's input; 0: none",
        "block": "kind of block",
        "depth_scaled": "whether α adds blocks here (not in Lite's first and last stage)",
        "activation": "where it is not the network's; left out: the network's",
        "squeeze": "how squeeze-excitation is sized and gated: EfficientNet's or MobileNetV3's way",
        "expand_divisor": "the width inside a block is rounded to a multiple of it",
    },
    "head": {
        "width": "channels of the last 1×1 convolution; 0: none, the last stage is pooled (ResNet)",
        "scaling": "how that width follows β: `fixed` never (Lite), `scaled` times β, `grows_only` times max(1, β) "
        "(MobileNetV2), `follows_last_stage` keeps its ratio to the last stage (EfficientNet)",
        "hidden": "width of a linear layer before the classifier (MobileNetV3); 0: none",
    },
    "grid": {
        "step": "of α, β and γ",
        "tolerance": "how far αβ²γ² may lie from 2",
        "maximum": "largest α, β and γ; the smallest is 1",
    },
    "published": {
        "name": "name of a released member, such as `b3`",
        "width": "multiplier of widths",
        "depth": "multiplier of depths",
        "resolution": "side in pixels",
        "dropout": "before the classifier",
    },
}
TABLES: tuple[tuple[str, str, Mapping[str, Rule], str], ...] = (
    ("", "At the top", rules(NetSpec), "Keys of the file itself, before the first table."),
    ("batch_norm", "`[batch_norm]`", rules(BatchNorm), "May be left out."),
    ("stem", "`[stem]`", rules(Stem), "The first convolution."),
    ("stages", "`[[stages]]`", rules(Stage), "One table for each stage, from input to output; at least one."),
    ("head", "`[head]`", rules(Head), "What follows the last stage."),
    ("grid", "`[grid]`", rules(space.Grid), "May be left out. The options `--step` and `--tolerance` go before it."),
    (
        "published", "`[[published]]`", rules(space.Published),
        "May be left out: released members by their multipliers, for `family --published` and names like "
        "`efficientnet_b3`. Each may have a `batch_norm` of its own.",
    ),
)  # fmt: skip


def commands(typer_app: Any, prefix: str = "scalesearch") -> Iterator[tuple[str, Callable[..., Any]]]:
    """Full name and function of every command, those of groups (such as ``faces``) after the plain ones."""
    for info in typer_app.registered_commands:
        if info.callback is not None and not info.hidden:
            name = info.name or info.callback.__name__.rstrip("_").replace("_", "-")
            yield f"{prefix} {name}", info.callback
    for group in typer_app.registered_groups:
        name = next(name for name in (group.name, group.typer_instance.info.name, "") if isinstance(name, str))
        yield from commands(group.typer_instance, f"{prefix} {name}".strip())


def cli_page() -> str:
    """Every command with its arguments and options."""
    found = list(commands(app))
    lines = [
        NOTE, "", "# Commands", "",
        "`scalesearch COMMAND --help` prints the same. Numbers may be written as people write them: `400M`, `1.8G`, "
        "`30m`, `2h`, `20ms`. Exit codes: 0 done, 1 our fault, 2 the input's, 130 interrupted. Before or behind any "
        "command: `-q` prints results alone, `-v` logs digests, settings and times to standard error.", "",
        "| command | what it does |", "|---|---|",
    ]  # fmt: skip
    for name, function in found:
        lines.append(f"| [`{name}`](#{_slug(name)}) | {_first_line(function)} |")
    for name, function in found:
        lines += ["", f"## {name}", "", *_prose(inspect.getdoc(function) or "")]
        arguments, options = _parameters(function)
        for title, rows in (("argument", arguments), ("option", options)):
            if rows:
                lines += ["", f"| {title} | takes | default | meaning |", "|---|---|---|---|", *rows]
    return "\n".join(lines) + "\n"


def _first_line(function: Callable[..., Any]) -> str:
    return (inspect.getdoc(function) or "").split("\n\n")[0].replace("\n", " ")


def _prose(text: str) -> list[str]:
    """A docstring as Markdown; lines that are commands stand as code."""
    lines: list[str] = []
    for paragraph in text.split("\n\n"):
        joined = " ".join(line.strip() for line in paragraph.split("\n"))
        before, _, command = joined.rpartition("Example: ")
        if before == "" and joined.startswith("Example: "):
            lines += ["```", command, "```", ""]
        elif joined.startswith("scalesearch "):
            lines += ["```", joined, "```", ""]
        elif joined != "Examples:":
            lines += [_options(joined), ""]
    return lines[:-1]


def _parameters(function: Callable[..., Any]) -> tuple[list[str], list[str]]:
    """Table rows of a command's arguments and of its options."""
    hints = typing.get_type_hints(function, include_extras=True)
    arguments, options = [], []
    for name, parameter in inspect.signature(function).parameters.items():
        kind, *extras = get_args(hints[name]) if get_origin(hints[name]) is typing.Annotated else (hints[name],)
        info = next(extra for extra in extras if hasattr(extra, "param_decls"))
        is_argument = type(info).__name__ == "ArgumentInfo"
        declared = [one for one in (info.default, *(info.param_decls or ())) if isinstance(one, str)]
        names = [name for one in declared for name in one.split("/")]
        if not names:
            names = ["--" + name.rstrip("_").replace("_", "-")]
            names += ["--no-" + names[0][2:]] if _plain(kind) is bool else []
        shown = name.upper() if is_argument else ", ".join(f"`{one}`" for one in names)
        row = (shown, _takes(kind, info), _default(parameter.default, kind), _cell(info.help or ""))
        (arguments if is_argument else options).append("| " + " | ".join(row) + " |")
    return arguments, options


def _plain(kind: Any) -> Any:
    """A type without ``| None``."""
    if get_origin(kind) in (typing.Union, types.UnionType):
        return next(part for part in get_args(kind) if part is not type(None))
    return kind


def _takes(kind: Any, info: Any) -> str:
    kind = _plain(kind)
    if get_origin(kind) is Literal:
        return " ".join(f"`{choice}`" for choice in get_args(kind))
    if kind is bool:
        return ""
    if get_origin(kind) is list:
        return "one or more"
    bounds = f", {info.metavar.replace('..', ' to ')}" if info.metavar else ""
    return KINDS[kind] + bounds


def _default(value: Any, kind: Any) -> str:
    if value is inspect.Parameter.empty:
        return "required"
    return "" if value is None or (_plain(kind) is bool and value is False) else f"`{value}`"


def _cell(text: str) -> str:
    return _options(text).replace("|", "\\|").replace("\n", " ")


def _options(text: str) -> str:
    """Options in prose become code."""
    return re.sub(r"(?<![\w`-])(--[a-z][a-z-]*)", r"`\1`", text)


def _slug(name: str) -> str:
    return name.replace(" ", "-")


def space_page() -> str:
    """Every key of a space file: what it may hold, its default, what it means."""
    lines = [
        NOTE, "", "# Space files", "",
        "A search space is a TOML file: a baseline network, the grid around it and, where there are any, released "
        "members. [Your own baseline](../own-baseline.md) writes one step by step. Unknown keys are mistakes, and all "
        "mistakes of a file are reported at once.", "",
        f"Shipped: {', '.join(f'`{name}`' for name in space.space_names())}.",
    ]  # fmt: skip
    for key, title, known, text in TABLES:
        shown = {name: rule for name, rule in known.items() if rule is not TABLE}
        if set(shown) != set(MEANINGS[key]):
            raise SystemExit(f"docs/generate.py: meanings of {title} differ: {set(shown) ^ set(MEANINGS[key])}")
        lines += ["", f"## {title}", "", text, "", "| key | holds | default | meaning |", "|---|---|---|---|"]
        for name, rule in shown.items():
            lines.append(f"| `{name}` | {_code(rule.expected)} | {_rule_default(rule)} | {MEANINGS[key][name]} |")
        if key == "stages":
            lines += _block_rules()
    return "\n".join(lines) + "\n"


def _block_rules() -> list[str]:
    """Where a block kind has bounds of its own."""
    lines = ["", "Some kinds of block have bounds and defaults of their own:", ""]
    lines += ["| block | key | holds | default |", "|---|---|---|---|"]
    for block, own in OF_BLOCK.items():
        for name, rule in own.items():
            lines.append(f"| `{block}` | `{name}` | {_code(rule.expected)} | {_rule_default(rule)} |")
    return lines


def _rule_default(rule: Rule) -> str:
    if rule.default is REQUIRED:
        return "required"
    if rule.default is None:
        return "none"
    return f"`{str(rule.default).lower() if isinstance(rule.default, bool) else rule.default}`"


def _code(expected: str) -> str:
    """Words in quotes become code."""
    parts = expected.split('"')
    return "".join(f"`{part}`" if place % 2 else part for place, part in enumerate(parts))


PAGES: dict[str, Callable[[], str]] = {"cli.md": cli_page, "space-files.md": space_page}


def stale() -> list[str]:
    """Pages that differ from what the code says."""
    return [name for name, page in PAGES.items() if _read(HERE / "reference" / name) != page()]


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def main() -> None:
    """Writes the pages, or checks them."""
    if "--check" in sys.argv[1:]:
        found = stale()
        sys.exit(f"Not as the code says: {', '.join(found)}. Run: python docs/generate.py" if found else 0)
    for name, page in PAGES.items():
        (HERE / "reference" / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
