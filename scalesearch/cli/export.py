"""The command that writes a model for other programs."""

from pathlib import Path
from typing import Annotated, Literal

import typer


def export(
    model: Annotated[Path, typer.Argument(help="A model.safetensors that finetune wrote.")],
    format: Annotated[
        Literal["onnx", "torch-export", "torchvision", "timm"],
        typer.Option(help="A graph, a torch.export program, or a state dict under another library's names."),
    ] = "onnx",
    out: Annotated[Path | None, typer.Option(help="The file; beside the model if left out.")] = None,
) -> None:
    """Write a model for other programs. The file is run and its logits compared before it is kept.

    Example: scalesearch export model.safetensors --format onnx
    """
    from scalesearch.cli.progress import say
    from scalesearch.nets.export import SUFFIX
    from scalesearch.nets.export import export as write
    from scalesearch.nets.weights import load_network
    from scalesearch.training.model_file import PIXELS

    network, metadata = load_network(model)
    path = out or model.with_name(f"{model.stem}-{format}{SUFFIX[format]}")
    kept = {key: metadata[key] for key in ("classes", PIXELS) if key in metadata}
    difference = write(network, path, format, {**kept, "resolution": str(network.spec.resolution)})
    say(f"Written: {path} (run and compared: logits differ by {difference:.1e} at most)")
    say(
        f"It takes RGB images of {network.spec.resolution}×{network.spec.resolution} px, 0 to 1, normalised by "
        f"{metadata.get(PIXELS, 'ImageNet statistics')}"
    )
