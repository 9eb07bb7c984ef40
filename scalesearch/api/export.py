"""Models for other programs: built, loaded, written for other libraries, made into torchvision's modules."""

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from scalesearch.api.evaluate import file_of, trained
from scalesearch.api.options import ExportOptions, path, takes
from scalesearch.data.image import Framing
from scalesearch.data.listing import warn
from scalesearch.design.spec import NetSpec
from scalesearch.errors import UserError
from scalesearch.nets.export import SUFFIX
from scalesearch.nets.export import export as write
from scalesearch.nets.hub import write_hub
from scalesearch.nets.modules import MBConvNet
from scalesearch.nets.modules import build as built
from scalesearch.nets.names import to_torchvision as renamed
from scalesearch.nets.names import torchvision_family
from scalesearch.nets.publishers import has_timm
from scalesearch.nets.timm_model import timm_call
from scalesearch.nets.weights import PIXELS, load_network
from scalesearch.training.classifier import CARD_FILE
from scalesearch.training.model_file import HOLDS, framing_of, statistics_of


@dataclass(frozen=True)
class ExportResult:
    """A file, or a folder, for other programs: it takes RGB images of ``resolution`` px, 0 to 1, less ``mean`` and over
    ``std``; its logits differ from the model's by ``largest_difference`` at most.

    Args:
        resize_px: short side that an image is resized to before its central square is cut; the whole square if equal to
            ``resolution``. Both are resized by ``interpolation``.
        code: loads it, where one line does.
    """

    file: Path
    format: str
    largest_difference: float
    resolution: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    resize_px: int
    interpolation: str
    code: str = ""


@takes(ExportOptions)
def export(asked: ExportOptions) -> ExportResult:
    """Writes a model for other programs. The file is run and its logits compared before it is kept.

    Raises:
        UserError: no such model, or a format that cannot hold it.
    """
    model = file_of(asked.model)
    network, metadata, assumed = trained(asked)
    warn((assumed,) if assumed else ())
    out, resolution = path(asked.out), network.spec.resolution
    file = out or (model.with_name(model.stem) if model.is_file() else Path(network.spec.name))
    if out is None:
        file = file.with_name(f"{file.name}-{asked.format}{SUFFIX.get(asked.format, '')}")
    said = {key: metadata[key] for key in ("classes", PIXELS) if key in metadata}
    pixels, framing = statistics_of(metadata), framing_of(metadata, resolution) or Framing(resolution)
    if asked.format == "hub":
        if asked.dynamic_size:
            raise UserError("--dynamic-size", "a folder of the Hub holds a network for images of any size.")
        card = model.with_name(CARD_FILE)
        text = card.read_text(encoding="utf-8") if model.is_file() and card.is_file() else ""
        text = text.replace(f" {HOLDS}", "")  # the folder shares it out among its files
        if not has_timm():
            warn(["timm is not installed, so the folder is of this project's own form, which timm does not read"])
        worst, code = write_hub(network, file, metadata, text)
    else:
        worst = write(network, file, asked.format, {**said, "resolution": str(resolution)}, asked.dynamic_size)
        code = timm_call(network.spec).code(file) if asked.format == "timm" else ""
    return ExportResult(
        file, asked.format, worst, resolution, pixels.mean, pixels.std, framing.resize_px, framing.interpolation, code
    )


def build(spec: NetSpec, seed: int | None = None) -> MBConvNet:
    """The torch module of a spec, freshly initialised; tensors named as torchvision's EfficientNet names them."""
    return built(spec, seed)


def load_model(path: str | Path) -> MBConvNet:
    """The network of a model file, with its weights, in evaluation mode on the CPU; ``.spec`` is its architecture."""
    return load_network(Path(path))[0]


def to_torchvision(network: MBConvNet) -> nn.Module:
    """torchvision's own module with the network's weights: an EfficientNet, MobileNet or ResNet of torchvision's class.

    A network of MBConv blocks is a drop-in for torchvision's EfficientNet as it is (``features``, ``avgpool``,
    ``classifier``, the same tensor names); this is for programs that ask for the class.

    Raises:
        UserError: torchvision has no module of this shape; of ResNets and MobileNets it has the published widths alone.
    """
    from scalesearch.nets.torchvision_peer import torchvision_loaded

    spec = network.spec
    state = renamed(spec, network.state_dict(), torchvision_family(spec))
    return torchvision_loaded(spec, state).train(network.training)
