"""Options that several commands share."""

from typing import Annotated, Literal

import typer

DataOption = Annotated[
    str | None,
    typer.Option(help="A folder, a torchvision set, or glyphs; the search's or the model's own if left out."),
]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:1.")]
SkipOption = Annotated[bool, typer.Option("--skip-broken", help="Leave unreadable images out.")]
PaddingOption = Annotated[
    Literal["symmetric", "same"] | None,
    typer.Option(help="How the source was padded, if not as known: same for weights from TensorFlow."),
]

BODY_RATIO = 0.3  # an inherited body's learning rate over the head's: 1 is worse, 0.1 no better (reports/LOG.md)
