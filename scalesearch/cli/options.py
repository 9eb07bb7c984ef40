"""Options of the faces commands, until they are made from options dataclasses, too."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from scalesearch.cli import complete

NETWORK, DATA, TRAINING, TRANSFER = "Network", "Data", "Training", "What is trained"
MEMORY, OUTPUT = "Memory and speed", "Run and output"
WORKERS = "Workers and machines"

DataOption = Annotated[
    str | None,
    typer.Option(
        help="A folder, a torchvision set, or glyphs; the search's or the model's own if left out.",
        autocompletion=complete.data, rich_help_panel=DATA,
    ),
]  # fmt: skip
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:1.", rich_help_panel=MEMORY)]
SkipOption = Annotated[bool, typer.Option("--skip-broken", help="Leave unreadable images out.", rich_help_panel=DATA)]
WeightsOption = Annotated[
    str | None,
    typer.Option(
        help="What to inherit, whatever its width and depth: imagenet (torchvision's nearest), a name of "
        "torchvision's, a file, a folder of files; scratch if left out.",
        autocompletion=complete.weights, rich_help_panel=NETWORK,
    ),
]  # fmt: skip
PaddingOption = Annotated[
    Literal["symmetric", "same"] | None,
    typer.Option(
        help="How the source was padded, if not as known: same for weights from TensorFlow.", rich_help_panel=NETWORK
    ),
]
RunOption = Annotated[
    Path | None,
    typer.Option(
        "--run", help="Folder of a search; the newest under runs/ if left out.", autocompletion=complete.runs,
        rich_help_panel=OUTPUT,
    ),
]  # fmt: skip
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON document instead of tables.", rich_help_panel=OUTPUT)
]
YesOption = Annotated[
    bool, typer.Option("--yes", "-y", help="Start without asking, however long it takes.", rich_help_panel=OUTPUT)
]

ExecutorOption = Annotated[
    Literal["processes", "ray"],
    typer.Option(
        help="processes of this machine, or ray: a cluster (needs scalesearch[ray]).", rich_help_panel=WORKERS
    ),
]
RayAddressOption = Annotated[
    str | None,
    typer.Option(help="Of a Ray cluster; a running one if left out, else a local one.", rich_help_panel=WORKERS),
]
CpusOption = Annotated[
    float,
    typer.Option(
        min=0.01, max=1024, help="Cores of each training: its threads on a CPU, and what Ray reserves.",
        rich_help_panel=WORKERS,
    ),
]  # fmt: skip
GpusOption = Annotated[
    float, typer.Option(min=0, max=64, help="GPUs that Ray reserves for each training.", rich_help_panel=WORKERS)
]
RetriesOption = Annotated[
    int,
    typer.Option(
        min=0, max=1000, help="How often a training is tried again after its worker died.", rich_help_panel=WORKERS
    ),
]
StorageOption = Annotated[
    str | None,
    typer.Option(
        help="postgresql://USER:PASSWORD@HOST/DATABASE that several coordinators share; SQLite in --run if left out.",
        envvar="SCALESEARCH_STORAGE", rich_help_panel=WORKERS,
    ),
]  # fmt: skip
