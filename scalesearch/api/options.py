"""What an option is, and the options of every command: each is said once, with its help, bounds, unit and panel.

The Typer command (``cli.commands``) and the Python function (``takes``) are both made from a command's dataclass, so an
option cannot exist in one of them alone. Commands import this file at start: it imports neither typer nor torch.
"""

import functools
import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, MISSING, dataclass, field, fields
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    ParamSpec,
    Protocol,
    TypeVar,
    get_args,
    get_origin,
    get_type_hints,
)

from scalesearch.design.cost import EXPONENT
from scalesearch.design.family import LARGEST
from scalesearch.design.measure import FLOPS, Kind, Measure, Runtime
from scalesearch.design.scaling import Coefficients, Rounding
from scalesearch.design.spec import NetSpec, Padding
from scalesearch.errors import UserError
from scalesearch.faces import FACE, LossName, Mining
from scalesearch.study.config import LARGEST_BATCH, Equal, Interpolation, Optimizer, Ties
from scalesearch.study.proxy import Shrinking
from scalesearch.training.history import Watcher
from scalesearch.units import parse_bytes, parse_duration, parse_flops

if TYPE_CHECKING:
    from scalesearch.design.latency import LatencyTable
    from scalesearch.nets.sources import Stated

Panel = Literal[  # of the help of a command, where an option stands
    "", "Network", "Data", "Training", "What is trained", "Scaling", "Grid", "Race and training", "Memory and speed",
    "Workers and machines", "Members", "Members and rivals", "Strangers", "Run and output",
]  # fmt: skip
Inheriting = Literal["auto", "smaller", "none"]  # from what a member of a family starts
Unit = Literal["flops", "seconds", "bytes", "cost"]  # read by ``macs``, ``seconds``, ``room`` and ``budget_of``
Shell = Literal["spaces", "models", "data", "weights", "runs"]  # what a shell may complete it by
Tell = Callable[[str], None]  # is told a line of text now and then
Reading = Callable[[int, int], None]  # is told (done, total) while images are read
USUAL_SPACE = "efficientnet_b0"
MEASURED_SPACES = (  # whose blocks a device is timed on
    "efficientnet_b0", "efficientnet_lite0", "mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small", "mbconv_small",
)  # fmt: skip
MOST_EPOCHS, LARGEST_SEED = 100_000, 2**32 - 1  # far above what helps
FACES = Path("runs/faces")
GALLERY = FACES / "gallery.safetensors"  # of faces
FPIR = 0.01
P = ParamSpec("P")
O = TypeVar("O")  # noqa: E741
R = TypeVar("R")


@dataclass(frozen=True)
class Option:
    """How a field of an options dataclass is asked for.

    Args:
        help: what it does and what is chosen where it is left out, as one or two sentences.
        panel: of the help that it stands in.
        minimum, maximum: of a number, both allowed; every number without a unit has both.
        unit: of a field that takes a number or text with its unit ("400M", "30m").
        argument: stands without a name on the command line.
        short: a letter, such as "j".
        negative: of a truth value that can also be switched off: "--no-crop" and the like.
        shell: what a shell completes it by.
        variable: an environment variable that gives it where the command line does not.
    """

    help: str
    panel: Panel = ""
    minimum: float = -math.inf
    maximum: float = math.inf
    unit: Unit | None = None
    argument: bool = False
    short: str = ""
    negative: bool = False
    shell: Shell | None = None
    variable: str = ""


class SavedModel(Protocol):
    """What ``finetune`` returns: it knows its file."""

    @property
    def file(self) -> Path:
        """The model."""


@dataclass(frozen=True)
class NoOptions:
    """Of a command that has none."""


@dataclass(frozen=True)
class Field:
    """A field of an options dataclass with its option; ``kind`` is its type without the annotation, ``default`` is
    ``inspect.Parameter.empty`` where it must be given."""

    name: str
    kind: Any
    default: Any
    option: Option

    @property
    def bounded(self) -> bool:
        """Whether it is a number that its option bounds."""
        kinds = {self.kind, *get_args(self.kind)}
        return bool(kinds & {int, float}) and not self.option.unit


def options_of(kind: type) -> tuple[Field, ...]:
    """The options that a dataclass declares, in order; fields without an ``Option`` are for Python alone."""
    hints: dict[str, Any] = get_type_hints(kind, include_extras=True)
    declared = []
    for one in fields(kind):
        if get_origin(hints[one.name]) is Annotated:
            plain, *extras = get_args(hints[one.name])
            default = inspect.Parameter.empty if one.default is MISSING else one.default
            declared += [Field(one.name, plain, default, extra) for extra in extras if isinstance(extra, Option)]
    return tuple(declared)


def takes(options: Callable[P, O]) -> Callable[[Callable[[O], R]], Callable[P, R]]:
    """Makes a function of an options dataclass one of its fields: ``f(Options(data="x"))`` becomes ``f(data="x")``.

    Type checkers see the dataclass's fields as parameters; ``help`` lists them with their help.
    """
    assert isinstance(options, type)

    def decorated(work: Callable[[O], R]) -> Callable[P, R]:
        @functools.wraps(work)
        def function(*args: P.args, **kwargs: P.kwargs) -> R:
            signature.bind(*args, **kwargs)  # else the message would name the dataclass's constructor
            asked = options(*args, **kwargs)
            check_bounds(asked)
            return work(asked)

        declared = {field.name: field for field in options_of(options)}
        parameters = [
            one.replace(annotation=declared[name].kind) if name in declared else one
            for name, one in inspect.signature(options).parameters.items()
        ]
        result = work.__annotations__["return"]
        signature = inspect.Signature(parameters, return_annotation=result)
        about, separator, raises = inspect.cleandoc(work.__doc__ or "").partition("\n\nRaises:")
        lines = "\n".join(f"    {field.name}: {field.option.help}" for field in declared.values())
        described = f"{about}\n\nArgs:\n{lines}{separator}{raises}"
        annotations = {**{one.name: one.annotation for one in parameters}, "return": result}
        vars(function)["__signature__"] = signature
        function.__doc__, function.__annotations__ = described, annotations
        return function

    return decorated


def check_bounds(asked: object) -> None:
    """Raises UserError, naming the option, for a number that is not finite or beyond its option's bounds."""
    for one in options_of(type(asked)):
        value, option = getattr(asked, one.name), one.option
        if one.bounded and isinstance(value, int | float) and not option.minimum <= value <= option.maximum:
            shown = f"{value:.12g}" if isinstance(value, float) else str(value)[:40]
            within = f"a number from {option.minimum:.12g} to {option.maximum:.12g}"
            raise UserError(f"--{one.name.replace('_', '-')}", f"{shown} is not {within}.")


def macs(value: float | str | None, option: str) -> float | None:
    """Multiply-adds of a number or of text such as "400M". Raises UserError naming ``option``."""
    return parse_flops(value, option) if isinstance(value, str) else _positive(value, option)


def seconds(value: float | str | None, option: str, example: str = "90s, 30m or 2h") -> float | None:
    """Seconds of a number or of text such as "30m" or "20ms". Raises UserError naming ``option``."""
    if isinstance(value, str):
        return parse_duration(value, option, f"a duration such as {example}")
    return _positive(value, option)


def _positive(value: float | None, option: str) -> float | None:
    if value is not None and not 0 < value < math.inf:
        raise UserError(option, f"{value} is not a number above 0.")
    return value


def room(value: float | str | None, option: str = "--cache-size") -> float | None:
    """Bytes of a number or of text such as "50G". Raises UserError naming ``option``."""
    return parse_bytes(value, option) if isinstance(value, str) else _positive(value, option)


@dataclass(frozen=True)
class Budget:
    """What networks are sized and compared by: the cost, the size that a baseline is brought to, in its unit, where one
    was asked for, and the option that asked."""

    measure: Measure
    target: float | None
    option: str

    @property
    def size(self) -> str:
        """As names of folders have it: 3M of FLOPs, 3M-params of others; "own" where none was asked for."""
        size = "own" if self.target is None else self.measure.unit.short(self.target).replace(" ", "")
        return size if self.measure == FLOPS else f"{size}-{self.measure.kind}"


def budget_of(asked: "BaselineOptions | SearchOptions") -> Budget:
    """What ``--budget``, ``--target`` and ``--target-flops`` say. Raises UserError where they contradict each other."""
    if asked.runtime is not None and asked.budget != "memory":
        do = "Add --budget memory, or leave it out; a latency table says by itself what it is of."
        raise UserError("--runtime", f"--budget {asked.budget} asks for no runtime's memory.", do=do)
    measure, target, option = Measure(asked.budget, asked.runtime, _table(asked)), asked.target, "--target"
    if asked.target_flops is not None:
        if asked.budget != "flops" or target is not None:
            other = "--target" if target is not None else f"--budget {asked.budget}"
            do = f"Give --budget {asked.budget} and the size with --target alone."
            raise UserError("--target-flops", f"it sizes the baseline in FLOPs, beside {other}.", do=do)
        target, option = asked.target_flops, "--target-flops"
    value = measure.unit.read(target, option) if isinstance(target, str) else _positive(target, option)
    return Budget(measure, value, option)


def _table(asked: "BaselineOptions | SearchOptions") -> "LatencyTable | None":
    """The device's, of a latency; none of another budget."""
    if (asked.budget == "latency") != (asked.device_table is not None):
        if asked.device_table is not None:
            do = "Add --budget latency, or leave it out."
            raise UserError("--device-table", f"--budget {asked.budget} asks no device for times.", do=do)
        do = 'Run "scalesearch device measure" first, or "scalesearch device probe" for another device.'
        raise UserError("--device-table", "--budget latency needs the table of the device that is meant.", do=do)
    if asked.device_table is None:
        return None
    from scalesearch.design.latency import load_table

    return load_table(Path(asked.device_table))


def path(value: Path | str | None) -> Path | None:
    """A path, where one was given."""
    return None if value is None else Path(value)


def images_of(
    asked: "SearchOptions | FamilyOptions | FinetuneOptions | EvaluateOptions", usual: str | None = None
) -> str:
    """What ``--data`` names, or else ``usual``, grouped as ``--group-by`` says, or else as ``usual`` is.

    Raises UserError where there is neither.
    """
    from scalesearch.data.grouping import grouped  # brings NumPy, which --help does without

    given = str(asked.data) if asked.data else usual
    if not given:
        raise UserError("--data", "no images were named.", do="Name a folder of images, a torchvision set, or glyphs.")
    return grouped(given, asked.group_by)


def table_file(value: Path | str | None) -> Path | None:
    """The file that ``--out`` names for a table. Raises UserError for other endings than .csv and .json."""
    if value is not None and Path(value).suffix not in (".csv", ".json"):
        raise UserError("--out", f"{value} ends neither in .csv nor in .json.")
    return path(value)


def inherited(weights: Path | str | None) -> str | None:
    """What ``--weights`` names; None where nothing is inherited: left out, "scratch" or "none"."""
    return None if weights is None or str(weights) in ("scratch", "none") else str(weights)


# fmt: off
# Options that several commands share.
Data = Annotated[str | Path | None, Option(
    "Images: a folder, a CSV of files and labels, tar shards, Parquet files, a torchvision set, or glyphs; those of "
    "the search or of the model if left out.", "Data", shell="data")]
Device = Annotated[str, Option(
    "Where to compute: auto (the first GPU, else the CPU), cpu, cuda or cuda:1.", "Memory and speed")]
SkipBroken = Annotated[bool, Option("Leave out images that cannot be read, instead of stopping at them.", "Data")]
GroupBy = Annotated[str | None, Option(
    "Keep images of one person, place or video in one part: a column of the CSV of files, or a pattern that is looked "
    "for in each file's path, such as '(person[0-9]+)_', where what is in brackets is the group; each image is for "
    "itself if left out, or as it was in the search.", "Data")]
FollowLinks = Annotated[str | Path | None, Option(
    "Follow links in a folder of images that lead into this folder, links to folders, too; if left out only links to "
    "files that lie in the folder of images itself.", "Data")]
CacheSize = Annotated[float | str | None, Option(
    "Disk that decoded images may take, such as 50G; half of the room on the cache's disk if left out. Sizes that have "
    "no room are decoded whenever they are used, to the same pixels.", "Memory and speed", unit="bytes",
    variable="SCALESEARCH_CACHE_SIZE")]
Weights = Annotated[str | Path | None, Option(
    "Weights to inherit, whatever their width and depth: imagenet (the nearest that torchvision has, downloaded), a "
    "network of torchvision's, or of timm's as timm:NAME, a file, a folder of files or of the Hugging Face Hub; new "
    "ones (scratch) if left out.", "Network",
    shell="weights")]
CropPct = Annotated[float | None, Option(
    "Share of an image's short side that is cut from its centre, such as 0.875; as the weights' publisher evaluates, "
    "or the whole side, if left out.", minimum=0.1, maximum=1)]
Interpolated = Annotated[Interpolation | None, Option(
    "How images are resized; as the weights' publisher evaluates, or bicubic, if left out.")]
SourceNetwork = Annotated[str | None, Option(
    "What network a file of weights is of, such as timm:tf_efficientnet_b0, whose padding, eps and normalisation are "
    "known; if left out it is told by its tensors, which carry none of these.", "Network")]
SourcePadding = Annotated[Padding | None, Option(
    "How the network that the weights are from pads its images, such as same for weights from TensorFlow; as its "
    "publisher or the known network has it if left out.", "Network")]
SourceEps = Annotated[float | None, Option(
    "Batch norms' eps of the network that the weights are from, such as 0.001; as its publisher or the known network "
    "has it if left out.", "Network", minimum=1e-12, maximum=1)]
Scheme = Literal["auto", "head", "tail", "full", "gradual"]  # a strategy, or auto: chosen
Patience = Annotated[int, Option(
    "Stop after so many epochs without a better one, and keep the best; 0 trains to the end.", "Training",
    minimum=0, maximum=MOST_EPOCHS)]
Ema = Annotated[float, Option(
    "Decay of the moving average of the weights, such as 0.99; 0 takes no average.", "Training",
    minimum=0, maximum=0.999999)]
TableFile = Annotated[Path | str | None, Option("A .csv or .json file to write; a table is printed if left out.")]
Run = Annotated[Path | str | None, Option(
    "Folder of the search; the newest under runs/ if left out.", "Run and output", shell="runs")]
Logs = Annotated[Sequence[str] | str | None, Option(
    "Write a log that other programs show, too: tensorboard, mlflow or wandb, as KIND:PLACE where it goes elsewhere "
    "than into the job's own folder; may be given several times.", "Run and output")]
TIME_BUDGET = "Time that this call may take, such as 30m or 2h; no limit if left out."
Jobs = Annotated[int | None, Option(
    "Trainings at a time; if left out as many as there are cores, on a GPU at most 8 and as many as half its memory "
    "holds, or as many as the Ray cluster takes.",
    "Memory and speed", short="j", minimum=1, maximum=10_000)]
Executor = Annotated[Literal["processes", "ray"], Option(
    "Where trainings run: in processes of this machine, or on a Ray cluster (needs scalesearch[ray]).",
    "Workers and machines")]
RayAddress = Annotated[str | None, Option(
    "Address of a Ray cluster; if left out a running one, or else a local one.", "Workers and machines")]
GpusPerTrial = Annotated[float, Option(
    "GPUs that Ray reserves for each training.", "Workers and machines", minimum=0, maximum=64)]
Retries = Annotated[int, Option(
    "How often a training is repeated after its worker died.", "Workers and machines", minimum=0, maximum=1000)]
Storage = Annotated[str | None, Option(
    "Database that several coordinators share, as postgresql://USER:PASSWORD@HOST/DATABASE; SQLite in the run's folder "
    "if left out.", "Workers and machines", variable="SCALESEARCH_STORAGE")]
SpaceName = Annotated[str, Option(
    "The baseline: a shipped space (efficientnet_b0, mbconv_small, mobilenet_v2, resnet50, …) or a TOML file.",
    "Network", shell="spaces")]
Baseline = Annotated[NetSpec | str | None, Option(
    "The baseline: a shipped space (efficientnet_b0, mbconv_small, mobilenet_v2, resnet50, …) or a TOML file; that of "
    "the newest search, or else efficientnet_b0, if left out.", "Network", shell="spaces")]
Sized = Annotated[float | str | None, Option(
    "Scale the baseline to this many multiply-adds first, such as 400M; its own size if left out. A searched baseline "
    "has the size that it was searched at.", "Network", unit="flops")]
BudgetKind = Annotated[Kind, Option(
    "The cost that the baseline is sized in and that candidates are equal in: multiply-adds, parameters, activations, "
    "the peak memory of one image going through, or the latency on a device (with --device-table).", "Network")]
TableOfDevice = Annotated[Path | str | None, Option(
    "Latency table of the device that --budget latency means, as scalesearch device measure writes it, or the times "
    "that a probe brought back.", "Network")]
MemoryOf = Annotated[Runtime | None, Option(
    "Whose memory --budget memory means: torch or onnxruntime on a CPU, float32, or an int8 network on a "
    "microcontroller (board); torch if left out.", "Network")]
InBudget = Annotated[float | str | None, Option(
    "Size T of the baseline in the budget's unit, such as 3M, 64MB or 20ms; the space's own if left out.", "Network",
    unit="cost")]
SEARCHED = "at least 1; the one that was searched, or else the paper's, if left out."
Alpha = Annotated[float | None, Option(f"Factor of the depth per φ, {SEARCHED}", "Scaling", minimum=1, maximum=8)]
Beta = Annotated[float | None, Option(f"Factor of the width per φ, {SEARCHED}", "Scaling", minimum=1, maximum=8)]
Gamma = Annotated[float | None, Option(f"Factor of the resolution per φ, {SEARCHED}", "Scaling", minimum=1, maximum=8)]
HowRounded = Annotated[Rounding | None, Option(
    "How layers and channels are rounded: budget meets the wanted FLOPs, efficientnet does as the released family; as "
    "in the search, or else budget, if left out.", "Scaling")]
ModelFile = Annotated[SavedModel | Path | str, Option(
    "A model.safetensors that finetune wrote, or published weights with their classifier, named as for finetune "
    "--weights.", argument=True)]
Body = Annotated[Path | str, Option(
    "What makes a face into numbers: face, which comes with the extra faces, or a file: a model of faces fit, or the "
    "card (.toml) of another network.", "Members")]
GalleryFile = Annotated[Path | str, Option("The gallery: the file that holds the members.", "Members")]
Strangers = Annotated[str | Path | None, Option(
    "Folder of people who are no members, with a folder of photos for each; if left out some of the people stand "
    "for them.", "Strangers")]
Fpir = Annotated[float, Option(
    "Share of strangers' photos that may be taken for a member, such as 0.01 for one in a hundred.", "Strangers",
    minimum=1e-6, maximum=0.999999)]
NEW_FOLDER = "It must be new or empty, and not inside the photos' folder."
Crop = Annotated[bool | None, Option(
    "Find faces on the photos and turn them upright first; as the body expects if left out.", "Data",
    negative=True)]


@dataclass(frozen=True)
class BaselineOptions:
    """Which baseline is asked for."""

    space: SpaceName = USUAL_SPACE
    target_flops: Annotated[float | str | None, Option(
        "Scale it to this many multiply-adds, such as 400M; the space's own size if left out.", "Network",
        unit="flops")] = None
    classes: Annotated[int | None, Option(
        "Outputs of the classifier; as many as the space says if left out.", "Network", minimum=1,
        maximum=1_000_000)] = None
    budget: BudgetKind = "flops"
    target: InBudget = None
    runtime: MemoryOf = None
    device_table: TableOfDevice = None


@dataclass(frozen=True)
class ScaleOptions:
    """Which member of which family is asked for; ``coefficients`` go before those of a search."""

    space: Baseline = None
    phi: Annotated[float | None, Option(
        "How far to scale: any real φ, where 0 is the baseline and a negative one is smaller.", "Scaling",
        minimum=-300, maximum=300)] = None
    _: KW_ONLY
    flops: Annotated[float | str | None, Option(
        "Find the φ whose network costs this, such as 1.8G.", "Scaling", unit="flops")] = None
    latency: Annotated[float | str | None, Option(
        "Find the φ whose network takes this long on this machine, such as 20ms.", "Scaling", unit="seconds")] = None
    target_flops: Sized = None
    run: Run = None
    alpha: Alpha = None
    beta: Beta = None
    gamma: Gamma = None
    coefficients: Coefficients | None = None
    rounding: HowRounded = None
    batch_size: Annotated[int, Option(
        "Images at a time when --latency is measured.", "Memory and speed", minimum=1, maximum=LARGEST_BATCH)] = 1
    device: Annotated[str, Option(
        "Where --latency is measured: auto, cpu, cuda or cuda:1.", "Memory and speed")] = "auto"
    threads: Annotated[int | None, Option(
        "CPU threads when --latency is measured; as many as torch takes if left out.", "Memory and speed",
        minimum=1, maximum=4096)] = None
    out: Annotated[Path | str | None, Option(
        "JSON file for the network's spec; one in the family's folder if left out.", "Run and output")] = None


@dataclass(frozen=True)
class FamilyOptions:
    """Which family is asked for; ``coefficients`` go before those of a search."""

    space: Baseline = None
    coefficients: Coefficients | None = None
    _: KW_ONLY
    target_flops: Sized = None
    run: Run = None
    alpha: Alpha = None
    beta: Beta = None
    gamma: Gamma = None
    rounding: HowRounded = None
    largest: Annotated[int, Option(
        "φ of the largest member; the smallest has 0.", "Scaling", minimum=0, maximum=20)] = LARGEST
    published: Annotated[bool, Option("Show the members that the space's authors released instead.", "Scaling")] = False
    out: Annotated[Path | str | None, Option(
        "Folder for the networks' specs, and in it for what is trained; the family's own if left out.",
        "Run and output")] = None
    train: Annotated[str | None, Option(
        "Train these members, such as b0..b3, and what they are compared with; none is trained if left out.",
        "Members and rivals")] = None
    against: Annotated[Sequence[str] | str, Option(
        "What stands beside them on the same images, by commas: paper, depth, width and resolution, scaled to the same "
        "cost; networks as they are, named as for finetune --model, or torchvision:NAME; none for nothing.",
        "Members and rivals")] = ("paper", "depth", "width", "resolution")
    against_resolution: Annotated[int | None, Option(
        "Side of the images of networks that stand beside the family as they are; each one's own if left out.",
        "Members and rivals", minimum=8, maximum=4096)] = None
    against_weights: Annotated[Path | str | None, Option(
        "What those start from: imagenet, a folder of files, or scratch; if left out as the members, which is refused "
        "where these start from a single file.", "Members and rivals", shell="weights")] = None
    inherit: Annotated[Inheriting, Option(
        "Whether a member starts from the next smaller one of its family that was trained: smaller; none, and then "
        "from --weights or from scratch; or auto, which is smaller unless there are --weights.",
        "Members and rivals")] = "auto"
    data: Data = None
    images: Annotated[int | None, Option(
        "The most training images; all if left out.", "Data", minimum=1, maximum=1_000_000_000)] = None
    weights: Weights = None
    source: SourceNetwork = None
    source_padding: SourcePadding = None
    source_eps: SourceEps = None
    seeds: Annotated[int, Option(
        "Trainings of each network that are judged on the test images; more add to what is there.", "Training",
        minimum=1, maximum=999)] = 3
    equal: Annotated[Equal, Option(
        "What all networks are given alike: epochs, or about the time that the family's member at the same φ takes.",
        "Training")] = "epochs"
    epochs: Annotated[int | None, Option(
        "Epochs of a training; 10 on a CPU and 20 on a GPU if left out.", "Training", minimum=1,
        maximum=MOST_EPOCHS)] = None
    inherited_epochs: Annotated[int | None, Option(
        "Epochs of a member that inherits from a smaller one; half of --epochs if left out.", "Training", minimum=1,
        maximum=MOST_EPOCHS)] = None
    lr: Annotated[str | None, Option(
        "Peak learning rates of AdamW, by commas: each curve's smallest network tries them all and is judged on "
        "validation images; 0.002,0.004,0.008 on a CPU and half as much again on a GPU if left out.",
        "Training")] = None
    batch_size: Annotated[int | None, Option(
        "Images of a training step; 32 on a CPU, 128 on a GPU if left out.", "Training", minimum=2,
        maximum=LARGEST_BATCH)] = None
    seed: Annotated[int, Option(
        "Seed of the whole: another one repeats it with other weights and orders.", "Training", minimum=0,
        maximum=1_000_000)] = 0
    time_budget: Annotated[float | str | None, Option(TIME_BUDGET, "Memory and speed", unit="seconds")] = None
    jobs: Jobs = None
    device: Device = "auto"
    executor: Executor = "processes"
    ray_address: RayAddress = None
    cpus_per_trial: Annotated[float, Option(
        "Cores for each training: its threads on a CPU, and what Ray reserves.", "Workers and machines", minimum=0.01,
        maximum=1024)] = 1.0
    gpus_per_trial: GpusPerTrial = 0.0
    storage: Storage = None
    retries: Retries = 3
    skip_broken: SkipBroken = False
    group_by: GroupBy = None
    follow_links: FollowLinks = None
    cache_size: CacheSize = None
    tell: Tell | None = None


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """What a search is asked for. None: chosen by the space, the data or the device."""

    target_flops: Annotated[float | str | None, Option(
        "Size T of the baseline in multiply-adds, such as 400M; the size of the space's own if left out.", "Network",
        unit="flops")] = None
    budget: BudgetKind = "flops"
    target: InBudget = None
    runtime: MemoryOf = None
    device_table: TableOfDevice = None
    exponent: Annotated[float, Option(
        "Exponent of the cost in the score, accuracy · (cost / T)^exponent: 0 looks at accuracy alone.", "Network",
        minimum=-2, maximum=0)] = EXPONENT
    space: SpaceName = USUAL_SPACE
    data: Annotated[str | Path, Option(
        "Images to train on: a folder, a CSV of files and labels, tar shards, Parquet files, a torchvision set such as "
        "cifar10, or glyphs, which are embedded.", "Data", shell="data")] = field(default="glyphs", kw_only=False)
    weights: Weights = None
    source: SourceNetwork = None
    source_padding: SourcePadding = None
    source_eps: SourceEps = None
    run: Annotated[Path | str | None, Option(
        "Folder that keeps the search; runs/SPACE-DATA-T if left out.", "Run and output", shell="runs")] = None
    step: Annotated[float | None, Option("Step of α, β and γ; the space's, usually 0.1, if left out.", "Grid",
        minimum=0.001, maximum=1)] = None
    tolerance: Annotated[float | None, Option(
        "How far αβ²γ² may be from 2; the space's, usually 0.1, if left out.", "Grid", minimum=0.001, maximum=1)] = None
    real_tolerance: Annotated[float, Option(
        "How far the real cost may be from twice the baseline's, as a share, with --rounding budget.", "Grid",
        minimum=0, maximum=1)] = 0.05
    rounding: Annotated[Rounding, Option(
        "How layers and channels are rounded: budget compares networks of equal real cost, efficientnet follows the "
        "paper to the letter and compares unequal ones.", "Grid")] = "budget"
    seeds: Annotated[int | None, Option(
        "First full trainings of each candidate that is trained to the end; 1 if left out, 3 with --exhaustive.",
        "Race and training", minimum=1, maximum=1000)] = None
    further: Annotated[int | None, Option(
        "The most full trainings after those, given where they lower the expected loss most; half as many as there are "
        "candidates if left out, none with --exhaustive, as many as fit with --time-budget.",
        "Race and training", minimum=0, maximum=1_000_000)] = None
    seed: Annotated[int, Option(
        "Seed of the whole search: another one repeats it with other weights and orders on the same images.",
        "Race and training", minimum=0, maximum=1_000_000)] = 0
    until_loss: Annotated[float | None, Option(
        "Points of score (100 × accuracy) that may be lost without mattering: the search ends when the bound on the "
        "expected loss is no larger and a first round of further trainings is over, and of networks as near as that "
        "the one that --ties names is recommended; 0.5 if left out.",
        "Race and training", minimum=0.01, maximum=100)] = None
    ties: Annotated[Ties, Option(
        "What the recommended network has least of among those that may be taken for the best: speed is measured "
        "latency and training time together, latency is measured, the others are counted at full size.",
        "Race and training")] = "speed"
    exhaustive: Annotated[bool, Option(
        "Train every candidate fully with every seed, instead of racing.", "Race and training")] = False
    time_budget: Annotated[float | str | None, Option(
        f"{TIME_BUDGET} The search goes on with further seeds until it is used up, or no more than --until-loss can be "
        "lost.", "Memory and speed", unit="seconds")] = None
    trials: Annotated[int | None, Option(
        "The most trainings that this call begins; no limit if left out.", "Memory and speed",
        minimum=1, maximum=1_000_000)] = None
    level: Annotated[float, Option(
        "Probability with which the set contains the best candidate, and of the bound on the loss.",
        "Race and training", minimum=0.5, maximum=0.999)] = 0.9
    epochs: Annotated[int | None, Option(
        "Epochs of a full training; if left out 10 on a CPU and 20 on a GPU, and up to 100 where images are few.",
        "Race and training", minimum=1, maximum=MOST_EPOCHS)] = None
    proxy_flops: Annotated[float | str | None, Option(
        "About how many multiply-adds a larger baseline is brought to for training; 6M on a CPU, 1G on a GPU if left "
        "out.",
        "Race and training", unit="flops")] = None
    proxy: Annotated[Shrinking, Option(
        "How a larger baseline is made that small: family, in depth, width and resolution as its own family's member; "
        "full-depth, in width and resolution; resolution, in pixels alone.", "Race and training")] = "family"
    images: Annotated[int | None, Option(
        "The most training images; 3200 on a CPU, all on a GPU if left out.", "Data",
        minimum=1, maximum=1_000_000_000)] = None
    validation_error: Annotated[float | None, Option(
        "Standard error, in points of accuracy, that validation images may leave in a difference of two networks, such "
        "as 0.5: a sample of so many is used; all, at most about 25 000, if left out.", "Data", minimum=0.01,
        maximum=10)] = None
    batch_size: Annotated[int | None, Option(
        "Images of a training step; 32 on a CPU, 128 on a GPU if left out.", "Race and training",
        minimum=2, maximum=LARGEST_BATCH)] = None
    lr: Annotated[float | None, Option(
        "Peak learning rate of AdamW; 0.004 on a CPU, 0.006 on a GPU if left out.", "Race and training",
        minimum=1e-12, maximum=1000)] = None
    jobs: Jobs = None
    device: Device = "auto"
    executor: Executor = "processes"
    ray_address: RayAddress = None
    cpus_per_trial: Annotated[float, Option(
        "Cores for each training: its threads on a CPU, and what Ray reserves.", "Workers and machines", minimum=0.01,
        maximum=1024)] = 1.0
    gpus_per_trial: GpusPerTrial = 0.0
    storage: Storage = None
    retries: Retries = 3
    skip_broken: SkipBroken = False
    group_by: GroupBy = None
    follow_links: FollowLinks = None
    cache_size: CacheSize = None
    log: Logs = None
    tell: Tell | None = None


@dataclass(frozen=True)
class VerifyOptions:
    """Which networks of which search are trained again, and how large."""

    run: Run = None
    _: KW_ONLY
    phi: Annotated[float, Option("φ at which the networks are trained; the search trained φ = 1.",
        minimum=0, maximum=10)] = 2.0
    members: Annotated[int, Option(
        "How many others of the set that holds the best are trained.", minimum=0, maximum=1000)] = 3
    others: Annotated[int, Option(
        "How many outside of that set are trained, spread over their ranking.", minimum=0, maximum=1000)] = 2
    seeds: Annotated[int, Option("Trainings of each network.", minimum=1, maximum=1000)] = 3
    epochs: Annotated[int | None, Option(
        "Epochs of each training; as many as in the search if left out.", minimum=1, maximum=MOST_EPOCHS)] = None
    time_budget: Annotated[float | str | None, Option(TIME_BUDGET, "Memory and speed", unit="seconds")] = None
    jobs: Jobs = None
    executor: Executor = "processes"
    ray_address: RayAddress = None
    cpus_per_trial: Annotated[float | None, Option(
        "Cores that Ray reserves for each training; as many as its threads if left out.", "Workers and machines",
        minimum=0.01, maximum=1024)] = None
    gpus_per_trial: GpusPerTrial = 0.0
    storage: Storage = None
    retries: Retries = 3
    skip_broken: SkipBroken = False
    follow_links: FollowLinks = None
    cache_size: CacheSize = None
    tell: Tell | None = None


@dataclass(frozen=True)
class FinetuneOptions:
    """What a fine-tuning is asked for. None: chosen by the model, the data or the strategy."""

    model: Annotated[NetSpec | str, Option(
        "The network: b0 to b6 or phi2.5 of the family, a spec file, a space or its file, or a released one such as "
        "efficientnet_b3.", "Network", shell="models")] = "b1"
    data: Data = None
    _: KW_ONLY
    run: Run = None
    weights: Weights = None
    source: SourceNetwork = None
    source_padding: SourcePadding = None
    source_eps: SourceEps = None
    strategy: Annotated[Scheme, Option(
        "What is trained: head on a frozen body, tail (the last blocks, too), full (everything, the body more slowly), "
        "gradual (head, tail and everything in turn), or auto, which chooses by the amount of data.",
        "What is trained")] = "auto"
    tail_blocks: Annotated[int, Option(
        "How many of the last blocks tail and gradual train besides the head.", "What is trained",
        minimum=0, maximum=10_000)] = 3
    reset_tail: Annotated[bool, Option(
        "Give the blocks of the tail new weights before training.", "What is trained")] = False
    epochs: Annotated[int, Option("Passes over the training images.", "Training", minimum=1, maximum=MOST_EPOCHS)] = 20
    patience: Patience = 0
    resolution: Annotated[int | None, Option(
        "Side of the images in pixels; the network's own if left out.", "Network", minimum=8, maximum=4096)] = None
    batch_size: Annotated[int, Option("Images of a training step.", "Training", minimum=2, maximum=LARGEST_BATCH)] = 32
    accumulate: Annotated[int, Option(
        "Send the images of a step through in so many parts, which takes less memory.", "Memory and speed",
        minimum=1, maximum=LARGEST_BATCH)] = 1
    recompute: Annotated[bool, Option(
        "Compute what the backward pass needs again instead of keeping it: less memory for a third more time.",
        "Memory and speed")] = False
    optimizer: Annotated[Optimizer, Option("Optimizer: AdamW, or SGD with momentum.", "Training")] = "adamw"
    lr: Annotated[float | None, Option(
        "Peak learning rate of the head; 0.003 for adamw and 0.05 for sgd if left out.", "Training",
        minimum=1e-12, maximum=1000)] = None
    body_lr_ratio: Annotated[float | None, Option(
        "Learning rate of the body as a share of the head's; 0.3 for inherited weights, else 1, if left out.",
        "What is trained", minimum=1e-9, maximum=1)] = None
    layer_decay: Annotated[float, Option(
        "Learning rate of each block as a share of the next one's towards the head.", "What is trained",
        minimum=1e-9, maximum=1)] = 1.0
    ema: Ema = 0.0
    label_smoothing: Annotated[float, Option("Share of each target that is spread over all classes.", "Training",
        minimum=0, maximum=0.999)] = 0.1
    augment: Annotated[Literal["light", "medium", "strong"], Option(
        "How training images are varied: light crops and flips, medium adds RandAugment and erasing, strong adds MixUp "
        "and CutMix.", "Data")] = "light"
    balance: Annotated[bool, Option("Let rare classes weigh as much in the loss as common ones.", "Data")] = False
    seed: Annotated[int, Option(
        "Seed of new weights, of the order of the images and of their augmentation.", "Training",
        minimum=0, maximum=LARGEST_SEED)] = 0
    device: Device = "auto"
    skip_broken: SkipBroken = False
    group_by: GroupBy = None
    follow_links: FollowLinks = None
    cache_size: CacheSize = None
    out: Annotated[Path | str | None, Option(
        "Folder for the model; RUN/models/MODEL-DATA if left out.", "Run and output")] = None
    log: Logs = None
    tell: Tell | None = None


@dataclass(frozen=True)
class EvaluateOptions:
    """What a saved model is evaluated on."""

    model: ModelFile
    data: Data = None
    _: KW_ONLY
    part: Annotated[Literal["test", "validation", "train", "all"], Option(
        "Part of the images to evaluate on.")] = "test"
    crop_pct: CropPct = None
    interpolation: Interpolated = None
    source: SourceNetwork = None
    source_padding: SourcePadding = None
    source_eps: SourceEps = None
    device: Device = "auto"
    skip_broken: SkipBroken = False
    group_by: GroupBy = None
    follow_links: FollowLinks = None
    cache_size: CacheSize = None
    out: Annotated[Path | str | None, Option(
        "Folder for evaluation.json, confusion.csv, mistakes.csv and two figures; none is written if left out.")] = None


@dataclass(frozen=True)
class PredictOptions:
    """Which images a saved model is asked about."""

    model: ModelFile
    images: Annotated[Sequence[str | Path] | str | Path, Option(
        "Images to predict, or folders of them.", argument=True)]
    _: KW_ONLY
    out: TableFile = None
    top: Annotated[int, Option("Likeliest classes to list for each image.", minimum=1, maximum=1_000_000)] = 5
    batch_size: Annotated[int, Option("Images that go through the network at a time.",
        minimum=1, maximum=LARGEST_BATCH)] = 64
    follow_links: FollowLinks = None
    crop_pct: CropPct = None
    interpolation: Interpolated = None
    source: SourceNetwork = None
    source_padding: SourcePadding = None
    source_eps: SourceEps = None
    device: Device = "auto"
    reading: Reading | None = None


@dataclass(frozen=True)
class ExportOptions:
    """Which model is written, and for whom."""

    model: ModelFile
    format: Annotated[Literal["onnx", "torch-export", "torchvision", "timm", "hub"], Option(
        "What is written: an ONNX graph, a torch.export program, weights under the names of torchvision or timm, or "
        "the folder that the Hugging Face Hub keeps."
    )] = "onnx"
    _: KW_ONLY
    out: Annotated[Path | str | None, Option(
        "The file to write, or hub's folder; one beside the model if left out.")] = None
    source: SourceNetwork = None
    source_padding: SourcePadding = None
    source_eps: SourceEps = None
    dynamic_size: Annotated[bool, Option(
        "Images of any height and width, not only batches of any size (onnx, torch-export).")] = False


@dataclass(frozen=True)
class ReportOptions:
    """Which searches are reported."""

    runs: Annotated[Sequence[Path | str] | Path | str | None, Option(
        "Folder of a search, or several, which are compared; the newest under runs/ if left out.",
        argument=True)] = None
    _: KW_ONLY
    out: Annotated[Path | str | None, Option(
        "Folder for the report; RUN/report, or RUN/comparison for several, if left out.")] = None
    title: Annotated[str | None, Option(
        "Heading of the page; what was searched on which images if left out.")] = None
    images: Annotated[bool, Option(
        "Show some images of each class and mistakes, where the images are still where they were.",
        negative=True)] = True
    watts: Annotated[float | None, Option(
        "Power of the machine in watts, for an estimate of the energy; none is made if left out.", minimum=0,
        maximum=1_000_000)] = None
    price_per_hour: Annotated[float | None, Option(
        "Price of an hour of the machine, for an estimate of the cost; none is made if left out.", minimum=0,
        maximum=1_000_000)] = None


MeasuredSpaces = Annotated[Sequence[str] | str, Option(
    "Whose networks are timed, by commas: shipped spaces or TOML files. A table tells the times of networks of the "
    "same kinds of blocks.", "Network")]
PassImages = Annotated[int, Option(
    "Images of a pass.", "Memory and speed", minimum=1, maximum=LARGEST_BATCH)]


@dataclass(frozen=True)
class DeviceMeasureOptions:
    """What is timed, and where."""

    runtime: Annotated[Literal["torch", "onnxruntime"], Option(
        "What runs the networks: torch (eager; on a GPU recorded as CUDA graphs), or ONNX Runtime on the CPU (needs "
        "scalesearch[export]).", "Memory and speed")] = "torch"
    _: KW_ONLY
    batch_size: PassImages = 1
    threads: Annotated[int | None, Option(
        "CPU threads of the runtime; as many as there are cores if left out.", "Memory and speed",
        minimum=1, maximum=4096)] = None
    dtype: Annotated[Literal["float32", "bfloat16", "float16"], Option(
        "Precision of weights and images; ONNX Runtime takes float32 alone.", "Memory and speed")] = "float32"
    device: Annotated[str, Option(
        "Where torch runs: cpu, cuda, cuda:1, or auto, which is the first GPU or else the CPU.",
        "Memory and speed")] = "cpu"
    spaces: MeasuredSpaces = MEASURED_SPACES
    minutes: Annotated[float, Option(
        "About how long it may take: with less time networks are timed fewer times.", "Memory and speed",
        minimum=0.1, maximum=600)] = 5.0
    from_probe: Annotated[Path | str | None, Option(
        "A file that a probe's run.py wrote on another device: the table is made from its times, and nothing is timed "
        "here.", "Run and output")] = None
    out: Annotated[Path | str, Option("JSON file for the table.", "Run and output")] = Path("device.json")
    reading: Reading | None = None


@dataclass(frozen=True)
class DeviceShowOptions:
    """Which table is shown."""

    table: Annotated[Path | str, Option(
        "A latency table, or the times that a probe's run.py wrote.", argument=True)]


@dataclass(frozen=True)
class DeviceProbeOptions:
    """What a probe for another device holds, and where it is written."""

    folder: Annotated[Path | str, Option("Folder for it, new or empty.", argument=True)]
    _: KW_ONLY
    batch_size: PassImages = 1
    spaces: MeasuredSpaces = MEASURED_SPACES


@dataclass(frozen=True)
class FitOptions:
    """What an embedding is trained on, and how."""

    data: Annotated[str | Path, Option("Folder of people, with a folder of photos for each.", "Data")]
    _: KW_ONLY
    strangers: Annotated[str | Path | None, Option(
        "Folder of people who are no members, with a folder of photos for each, by whom the training is judged; people "
        "held out if left out.", "Data")] = None
    model: Annotated[str, Option(
        "What is trained: face, which comes with the extra faces, or a network: b0 to b6 or phi2.5 of the family, a "
        "spec file, a space or its file, or a released one such as efficientnet_b3.", "Network", shell="models")] = FACE
    weights: Annotated[str | Path | None, Option(
        "Weights that a network inherits, named as for finetune; scratch for new ones; face brings its own.", "Network",
        shell="weights")] = "imagenet"
    source: SourceNetwork = None
    source_padding: SourcePadding = None
    source_eps: SourceEps = None
    crop: Annotated[bool | None, Option(
        "Find the largest face on each photo and turn it upright first; for face alone if left out.", "Data",
        negative=True)] = None
    resolution: Annotated[int | None, Option(
        "Side of a face in pixels; 112, or 150 for face, if left out.", "Network", minimum=16, maximum=4096)] = None
    dimensions: Annotated[int, Option("Length of an embedding.", "Network", minimum=2, maximum=4096)] = 128
    loss: Annotated[LossName, Option(
        "Loss of the training: the triplet loss, or one with a learned vector for each person.",
        "Training")] = "triplet"
    mining: Annotated[Mining, Option(
        "Triplets of a batch that count: all, those with a negative within the margin, or the hardest.",
        "Training")] = "all"
    margin: Annotated[float, Option("Margin of the triplet loss, between squared distances.", "Training",
        minimum=1e-6, maximum=4)] = 0.2
    recover: Annotated[bool, Option("After a collapse, go on with gentler mining.", "Training", negative=True)] = True
    people: Annotated[int, Option("People in a batch.", "Training", minimum=2, maximum=10_000)] = 16
    photos: Annotated[int, Option("Photos of each person in a batch.", "Training", minimum=2, maximum=10_000)] = 4
    epochs: Annotated[int | None, Option(
        "Passes over everybody's photos; 8 to 40, as many as make 400 steps, if left out.", "Training",
        minimum=1, maximum=MOST_EPOCHS)] = None
    patience: Patience = 0
    held_out: Annotated[float | None, Option(
        "Share of the people to hold out, by whom the training is watched; if left out a tenth of 50 people or more.",
        "Training", minimum=0, maximum=0.9)] = None
    strategy: Annotated[Scheme, Option(
        "What is trained: head (the embedding layer), tail (the last blocks, too), full (everything), gradual (the "
        "three in turn), or auto, which is head for face, tail for other inherited weights, else full.",
        "What is trained")] = "auto"
    tail_blocks: Annotated[int, Option(
        "How many of the last blocks tail and gradual train besides the embedding layer.", "What is trained",
        minimum=0, maximum=10_000)] = 6
    lr: Annotated[float, Option("Peak learning rate of the embedding layer.", "Training",
        minimum=1e-12, maximum=1000)] = 0.001
    body_lr_ratio: Annotated[float, Option(
        "Learning rate of an inherited body as a share of the embedding layer's.", "What is trained",
        minimum=1e-9, maximum=1)] = 0.3
    ema: Ema = 0.0
    seed: Annotated[int, Option(
        "Seed of new weights, of the order of the photos and of their augmentation.", "Training",
        minimum=0, maximum=LARGEST_SEED)] = 0
    device: Device = "auto"
    skip_broken: SkipBroken = False
    follow_links: FollowLinks = None
    keep: Annotated[Literal["better", "trained", "frozen"], Option(
        "Which becomes the model: better is the trained one where it recognises more beyond chance, else the body as "
        "it was.", "Run and output")] = "better"
    out: Annotated[Path | str, Option("Folder for the model.", "Run and output")] = FACES
    tell: Tell | None = None
    watcher: Watcher | None = None


@dataclass(frozen=True)
class EnrollOptions:
    """Who is added to a gallery, and what its threshold is fitted on."""

    people: Annotated[str | Path | None, Option(
        "Folder of people, with a folder of photos for each; nobody is added, the threshold alone fitted, if left out.",
        argument=True)] = None
    _: KW_ONLY
    body: Body = FACE
    gallery: GalleryFile = GALLERY
    strangers: Strangers = None
    without: Annotated[Sequence[str] | str | None, Option(
        "Names of folders of --strangers to leave out, with commas between them.", "Strangers")] = None
    fpir: Fpir = FPIR
    crop: Crop = None
    follow_links: FollowLinks = None
    skip_broken: SkipBroken = False
    device: Device = "auto"
    reading: Reading | None = None


@dataclass(frozen=True)
class IdentifyOptions:
    """Which photos are named, by which gallery, and what is made of them."""

    photos: Annotated[Sequence[str | Path] | str | Path, Option("Photos to name, or folders of them.", argument=True)]
    _: KW_ONLY
    body: Body = FACE
    gallery: GalleryFile = GALLERY
    crop: Crop = None
    follow_links: FollowLinks = None
    out: TableFile = None
    page: Annotated[Path | str | None, Option(
        "An .html file to write: the faces of each member, and the others grouped by likeness.")] = None
    annotate: Annotated[Path | str | None, Option(
        "Folder for copies of the photos with a box around each face and its name, or a question mark. " + NEW_FOLDER
    )] = None
    sort_into: Annotated[Path | str | None, Option(
        "Folder for copies of the photos in a folder for each member on them; those of nobody known and those without "
        "a face have folders of their own. " + NEW_FOLDER)] = None
    device: Device = "auto"
    reading: Reading | None = None


@dataclass(frozen=True)
class FaceVerifyOptions:
    """Which two photos are compared, and how it is decided."""

    a: Annotated[str | Path, Option("A photo.", argument=True)]
    b: Annotated[str | Path, Option("Another photo.", argument=True)]
    _: KW_ONLY
    body: Body = FACE
    strangers: Annotated[str | Path | None, Option(
        "Folder of people, with a folder of photos for each, on whose pairs the limit is fitted; the limit that comes "
        "with the body if left out.", "Strangers")] = None
    far: Annotated[float, Option(
        "Share of the pairs of two of these people that may be taken for one person.", "Strangers",
        minimum=1e-6, maximum=0.999999)] = 0.001
    crop: Crop = None
    follow_links: FollowLinks = None
    skip_broken: SkipBroken = False
    device: Device = "auto"
    reading: Reading | None = None


@dataclass(frozen=True)
class StrangersOptions:
    """On which photos strangers are looked for, and where they are put."""

    photos: Annotated[Sequence[str | Path] | str | Path, Option(
        "Photos on which people are who are no members, or folders of them.", argument=True)]
    _: KW_ONLY
    body: Body = FACE
    gallery: GalleryFile = GALLERY
    crop: Crop = None
    follow_links: FollowLinks = None
    out: Annotated[Path | str, Option(
        "Folder for the strangers, a folder for each, and index.html, by which they are confirmed. " + NEW_FOLDER
    )] = Path("strangers")
    device: Device = "auto"
    reading: Reading | None = None


@dataclass(frozen=True)
class MembersOptions:
    """Which gallery is shown."""

    gallery: GalleryFile = GALLERY


@dataclass(frozen=True)
class RemoveOptions:
    """Who is taken out of a gallery."""

    name: Annotated[Sequence[str] | str, Option("People to take out.", argument=True)]
    _: KW_ONLY
    gallery: GalleryFile = GALLERY


@dataclass(frozen=True)
class FaceEvaluateOptions:
    """Which people a model is evaluated on."""

    people: Annotated[str | Path, Option(
        "Folder of people, with a folder of photos for each; none of them may have been trained on.", argument=True)]
    _: KW_ONLY
    body: Body = FACE
    strangers: Strangers = None
    pairs: Annotated[Path | str | None, Option(
        "CSV file of pairs to verify, with columns a, b and same; every pair of the folder if left out.")] = None
    fpir: Fpir = FPIR
    crop: Crop = None
    follow_links: FollowLinks = None
    seed: Annotated[int, Option("Seed by which photos are enrolled or shown, and pairs put in folds.",
        minimum=0, maximum=LARGEST_SEED)] = 0
    skip_broken: SkipBroken = False
    out: Annotated[Path | str | None, Option(
        "Folder for evaluation.json, tables and figures; none is written if left out.")] = None
    device: Device = "auto"
    reading: Reading | None = None
# fmt: on


def stated(
    asked: SearchOptions
    | FamilyOptions
    | FinetuneOptions
    | FitOptions
    | EvaluateOptions
    | PredictOptions
    | ExportOptions,
) -> "Stated":
    """What options state of the weights that they name."""
    from scalesearch.nets.sources import Stated

    return Stated(asked.source_padding, asked.source_eps, asked.source)
