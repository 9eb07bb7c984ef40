"""Options that several commands share."""

from typing import Annotated

import typer

DataOption = Annotated[
    str | None,
    typer.Option(help="A folder, a torchvision set, or glyphs; the search's or the model's own if left out."),
]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:1.")]
SkipOption = Annotated[bool, typer.Option("--skip-broken", help="Leave unreadable images out.")]
