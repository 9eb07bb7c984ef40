"""The command that writes a model for other programs."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from scalesearch.cli.options import JsonOption


def export(
    model: Annotated[Path, typer.Argument(help="A model.safetensors that finetune wrote.")],
    format: Annotated[
        Literal["onnx", "torch-export", "torchvision", "timm"],
        typer.Option(help="A graph, a torch.export program, or a state dict under another library's names."),
    ] = "onnx",
    out: Annotated[Path | None, typer.Option(help="The file; beside the model if left out.")] = None,
    json: JsonOption = False,
) -> None:
    """Write a model for other programs. The file is run and its logits compared before it is kept.

    Example: scalesearch export model.safetensors --format onnx
    """
    from scalesearch.cli.progress import explain, say
    from scalesearch.cli.show import print_json
    from scalesearch.nets.export import SUFFIX
    from scalesearch.nets.export import export as write
    from scalesearch.nets.weights import load_network
    from scalesearch.training.model_file import PIXELS, statistics_of

    network, metadata = load_network(model)
    path = out or model.with_name(f"{model.stem}-{format}{SUFFIX[format]}")
    kept = {key: metadata[key] for key in ("classes", PIXELS) if key in metadata}
    difference = write(network, path, format, {**kept, "resolution": str(network.spec.resolution)})
    if json:
        pixels = statistics_of(metadata)
        print_json(
            {"file": str(path), "format": format, "largest_difference": difference,
             "resolution": network.spec.resolution, "mean": pixels.mean, "std": pixels.std}
        )  # fmt: skip
        return
    say(f"Written: {path} (run and compared: logits differ by {difference:.1e} at most)")
    explain(
        f"It takes RGB images of {network.spec.resolution}×{network.spec.resolution} px, 0 to 1, normalised by "
        f"{metadata.get(PIXELS, 'ImageNet statistics')}"
    )
