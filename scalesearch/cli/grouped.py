"""Plain help in groups, and a word about what was probably meant. Without rich, so that --help answers at once."""

import difflib
import re
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from scalesearch.cli.spelling import spelled

OTHER = "Options"
EVERYWHERE = {"-q": "--quiet", "--quiet": "--quiet", "-v": "--verbose", "--verbose": "--verbose"}


def first(arguments: Sequence[str]) -> list[str]:
    """--quiet and --verbose brought to the front, so that they may stand behind the command, too.

    >>> first(["grid", "--space", "mbconv_small", "-q"])
    ['--quiet', 'grid', '--space', 'mbconv_small']
    """
    end = arguments.index("--") if "--" in arguments else len(arguments)
    ours = [EVERYWHERE[one] for one in arguments[:end] if one in EVERYWHERE]
    return [*ours, *(one for one in arguments[:end] if one not in EVERYWHERE), *arguments[end:]]


def _panels(items: Sequence[tuple[str | None, tuple[str, str]]]) -> dict[str, list[tuple[str, str]]]:
    """Help records by their panel, in order of appearance; output and those of no panel come last."""
    panels: dict[str, list[tuple[str, str]]] = {}
    for panel, record in items:
        panels.setdefault(panel or OTHER, []).append(record)
    for late in ("Run and output", OTHER):
        if late in panels:
            panels[late] = panels.pop(late)
    return panels


class Command(TyperCommand):
    """A command whose options are listed by panel (``rich_help_panel``)."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As typer parses them; a refused choice is told the nearest one."""
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            quoted = re.findall(r"'([^']*)'", error.message)
            near = difflib.get_close_matches(quoted[0], quoted[1:], 1) if quoted else []
            if near:
                error.message += f" Did you mean '{near[0]}'?"
            raise

    def get_help(self, ctx: Any) -> str:
        """As click makes it, spelled as standard output can hold it: click writes UTF-8 to a stream of ASCII."""
        return spelled(super().get_help(ctx))

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Arguments, then each panel."""
        records: list[tuple[str | None, tuple[str, str]]] = []
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                argument = parameter.param_type_name == "argument"
                panel = "Arguments" if argument else getattr(parameter, "rich_help_panel", None)
                records.append((panel, record))
        for panel, lines in _panels(records).items():
            with formatter.section(panel):
                formatter.write_dl(lines)


class Group(TyperGroup):
    """A group whose commands are listed by panel."""

    def get_help(self, ctx: Any) -> str:
        """As of ``Command``."""
        return spelled(super().get_help(ctx))

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Each panel with its commands and the first line of their help."""
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        shown = [(name, command) for name, command in commands if command is not None and not command.hidden]
        width = formatter.width - 6 - max((len(name) for name, _ in shown), default=0)
        records = [
            (getattr(command, "rich_help_panel", None) or "Commands", (name, command.get_short_help_str(width)))
            for name, command in shown
        ]
        for panel, lines in _panels(records).items():
            with formatter.section(panel):
                formatter.write_dl(lines)
