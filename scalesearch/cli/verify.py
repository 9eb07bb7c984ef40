"""The command that asks whether φ = 1 transfers."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from scalesearch.cli.design import JsonOption, RunOption
from scalesearch.cli.options import ExecutorOption, GpusOption, RayAddressOption, RetriesOption
from scalesearch.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scalesearch.data.dataset import Dataset
    from scalesearch.running.verify import Network, Searched, Verification
    from scalesearch.running.workers import Workers
    from scalesearch.study.plan import Trial

ASK_ABOVE_SECONDS = 600


def verify(
    run: RunOption = None,
    phi: Annotated[float, typer.Option(help="Where to train them; the search trained φ = 1.")] = 2.0,
    members: Annotated[
        int, typer.Option(min=0, max=1000, help="Others of the winner set, besides the recommended one.")
    ] = 3,
    beaten: Annotated[int, typer.Option(min=0, max=1000, help="Beaten ones, spread over the ranking.")] = 2,
    seeds: Annotated[int, typer.Option(min=1, max=1000, help="Trainings of each network.")] = 2,
    epochs: Annotated[int | None, typer.Option(min=1, help="Of each training; the search's own if left out.")] = None,
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", "-j", min=1, help="Trainings at a time; the number of cores, or what Ray takes."),
    ] = None,
    executor: ExecutorOption = "processes",
    ray_address: RayAddressOption = None,
    gpus_per_trial: GpusOption = 0.0,
    retries: RetriesOption = 3,
    skip_broken: Annotated[bool, typer.Option("--skip-broken", help="Leave unreadable images out.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show networks and estimate; train none.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Start without asking, however long it takes.")] = False,
    json: JsonOption = False,
) -> None:
    """Train winners, beaten ones and controls at φ = 2: do those that won at φ = 1 win again?

    A search assumes it. All are trained on the search's images as the search trained them, at equal real FLOPs. Run it
    again to continue; more --seeds add to what is there.

    Example: scalesearch verify --run runs/mbconv_small-glyphs-own --seeds 3
    """
    from scalesearch.running.folder import newest_run
    from scalesearch.running.verify import chosen, read_searched, scaled, trials
    from scalesearch.study.config import validate
    from scalesearch.training.memory import require_workers

    folder = run or newest_run()
    if folder is None:
        raise UserError(
            "--run", "nothing searched under runs/", "the folder of a search", 'Run "scalesearch grid" first.'
        )
    if executor == "processes":
        require_workers(jobs or 1)
    searched = read_searched(folder)
    candidates = chosen(searched.answer, searched.candidates, members, beaten)
    networks = scaled(searched.plan, searched.answer, candidates, phi)
    wanted = trials(searched.plan, networks, seeds, epochs)
    validate(wanted[0].train)
    parts = _images(searched, wanted, skip_broken)
    if not json:
        left_out = [one for one in candidates if one not in [network.candidate for network in networks]]
        _introduce(searched, networks, phi, wanted[0].until, [one.control for one in left_out])
    workers = _workers(searched, jobs, executor, ray_address, gpus_per_trial, retries)
    _start(searched, networks, phi, wanted, parts, workers, dry_run, yes, json)


def _workers(
    searched: "Searched", jobs: int | None, executor: Literal["processes", "ray"], ray_address: str | None,
    gpus_per_trial: float, retries: int,
) -> "Workers":  # fmt: skip
    """As for a search; a training has the threads that it had there."""
    from scalesearch.data.cache import cores
    from scalesearch.running.workers import Workers
    from scalesearch.training.device import choose_device

    plan, on_ray = searched.plan, executor == "ray"
    gpu = plan.device != "cpu"
    if gpu and on_ray and not gpus_per_trial:
        raise UserError("--gpus-per-trial", "0", f"more, since the search ran on {plan.device}")
    if gpu and not on_ray:
        choose_device(plan.device)  # says if it is not there
    many = jobs or (None if on_ray else 1 if gpu else max(1, cores() // plan.threads))
    return Workers(many, executor, plan.threads, gpus_per_trial, ray_address, retries)


def _images(searched: "Searched", wanted: "Sequence[Trial]", skip_broken: bool) -> "Dataset":
    """The search's images, at sizes that these networks need. Raises UserError where they have changed."""
    from scalesearch.data.dataset import dataset, open_data

    plan = searched.plan
    largest_px = max(one.proxy_spec.resolution for one in wanted)
    parts = dataset(open_data(searched.given, skip_broken=skip_broken), largest_px, plan.proxy.images)
    if parts.digest != plan.data_digest:
        raise UserError(
            searched.given, f"images of digest {parts.digest}", f"those that were searched on ({plan.data_digest})",
            "Bring them back, or search again." if skip_broken else "Bring them back (with --skip-broken if the search "
            "had it), or search again.",
        )  # fmt: skip
    return parts


def _introduce(
    searched: "Searched", networks: "Sequence[Network]", phi: float, epochs: int, left_out: "Sequence[str]"
) -> None:
    """What will be compared with what."""
    from scalesearch.cli.progress import explain, say
    from scalesearch.running.verify import common_epochs

    plan, answer = searched.plan, searched.answer
    full, before = plan.train.epochs, common_epochs(searched.results, [one.candidate.index for one in networks])
    state = "" if answer.complete else ", search unfinished"
    explain(f"Search {searched.folder} on {plan.data}: {answer.recommended} recommended{state}")
    ratios = [network.ratio for network in networks]
    explain(
        f"{len(networks)} networks at φ = {phi:g}, {min(ratios):.2f}–{max(ratios):.2f} × the baseline's real FLOPs "
        f"({max(ratios) / min(ratios) - 1:.1%} apart), each trained as in the search: "
        f"{plan.proxy.describe(plan.baseline)}"
    )
    if epochs != full:
        explain(f"Note: {epochs} epochs here, {full} in the search.")
    if before < full:
        say(
            f"WARNING: not all of them were trained fully at φ = 1, so the scores after {before} of {full} epochs are "
            "compared with. The same search with --exhaustive trains them all."
        )
    for dimension in left_out:
        explain(f"Note: {dimension} alone cannot be grown as far as φ = {phi:g}; that control is left out.")


def _start(
    searched: "Searched", networks: "Sequence[Network]", phi: float, wanted: "Sequence[Trial]", parts: "Dataset",
    workers: "Workers", dry_run: bool, yes: bool, json: bool,
) -> None:  # fmt: skip
    """Estimates, asks, trains, prints."""
    from dataclasses import asdict

    from scalesearch.cli.progress import Bar, TrialProgress, confirm, explain, interruptible, say
    from scalesearch.cli.show import print_json
    from scalesearch.data.cache import cores
    from scalesearch.running.estimate import measure
    from scalesearch.running.search import Listener
    from scalesearch.running.verify import folder_of, kept_rows, split_done, verify
    from scalesearch.units import show_seconds

    plan, folder = searched.plan, folder_of(searched, phi)
    many = workers.jobs or max(1, cores() // plan.threads)
    before, pending = split_done(wanted, kept_rows(searched, phi))
    seconds = 0.0
    if pending and (workers.kind == "processes" or plan.device == "cpu"):
        timing = measure(pending, len(parts.train), len(parts.validation), many, plan.device, plan.threads)
        seconds = timing.total([[(one, one.until) for one in pending]])
    if not json:
        done = f" ({len(before)} done before)" if before else ""
        explain(f"Trainings: {len(pending)}{done}; {many} at a time: about {show_seconds(seconds)}")
        explain(f"Folder: {folder}")
    if dry_run:
        _print_networks(networks, json)
        return
    confirm(seconds, ASK_ABOVE_SECONDS, yes)
    with interruptible(), Bar(len(wanted), len(before), quiet=json) as bar:
        progress = TrialProgress(bar, before, plan.baseline.classes, seconds)
        listener = Listener(bar.reading, progress.finished, bar.note)
        found = verify(searched, networks, phi, wanted, parts, workers, listener)
    figure = _draw(folder, found)
    if json:
        print_json({"folder": str(folder), **asdict(found)})
        return
    _print(found)
    say(f"Figure: {figure}")
    explain("Next: scalesearch report, which shows this, too")


def _print_networks(networks: "Sequence[Network]", json: bool) -> None:
    """What would be trained."""
    from scalesearch.cli.show import print_json, print_table
    from scalesearch.units import show_count

    if json:
        print_json(
            [
                {"name": one.spec.name, "control": one.candidate.control, "status": one.status, "ratio": one.ratio,
                 "macs": one.macs, "spec": one.spec.to_dict()}
                for one in networks
            ]
        )  # fmt: skip
        return
    print_table(
        "Networks to train",
        ("name", "φ = 1", "α", "β", "γ", "real ×", "FLOPs", "px"),
        [
            [_label(one.spec.name, one.candidate.control), one.status, f"{c.alpha:g}", f"{c.beta:g}", f"{c.gamma:g}",
             f"{one.ratio:.3f}", show_count(one.macs), str(one.spec.resolution)]
            for one in networks
            for c in (one.candidate.coefficients,)
        ],
    )  # fmt: skip


def _print(found: "Verification") -> None:
    """The networks at both sizes, τ, regret, and what they say."""
    from scalesearch.api.verified import reading, tau_text
    from scalesearch.cli.progress import say
    from scalesearch.cli.show import print_table

    print_table(
        f"Scores on {found.images} validation images with 95 % intervals: after {found.epochs_at_one} epochs at φ = 1, "
        f"{found.epochs} at φ = {found.phi:g}",
        ("name", "φ = 1", "real ×", "score at 1", "interval", "rank", f"score at {found.phi:g}", "interval", "rank"),
        [
            [_label(n.name, n.control), n.status, f"{n.ratio:.2f}",
             f"{n.at_one.value:.4f}", f"{n.at_one.low:.4f}–{n.at_one.high:.4f}", str(n.rank_at_one),
             f"{n.at_phi.value:.4f}", f"{n.at_phi.low:.4f}–{n.at_phi.high:.4f}", str(n.rank_at_phi)]
            for n in sorted(found.networks, key=lambda n: n.rank_at_phi)
        ],
    )  # fmt: skip
    if found.failed:
        say(f"Without a result at φ = {found.phi:g}: {', '.join(found.failed)}")
    say(f"Kendall's τ: {tau_text(found)}")
    if found.regret is not None:
        r = found.regret
        say(
            f"Regret of taking {found.recommended}: {r.value:.4f} in score; {found.networks[r.against].name} minus it "
            f"{r.gap:+.4f}, 95 % interval {r.low:+.4f} to {r.high:+.4f}"
        )
    say(reading(found))


def _label(name: str, control: str) -> str:
    return f"{name} ({control} alone)" if control else name


def _draw(folder: Path, found: "Verification") -> Path:
    """Writes transfer.png and transfer.svg; the first."""
    from scalesearch.api.verified import transfer
    from scalesearch.files import write_bytes
    from scalesearch.reports.axes import rendered
    from scalesearch.reports.transfer_figure import transfer_figure

    one = transfer(found)
    figure = transfer_figure(one.points, one.phi, one.tau, one.note)
    write_bytes(folder / "transfer.png", rendered(figure, "png"))
    write_bytes(folder / "transfer.svg", rendered(figure, "svg"))
    return folder / "transfer.png"
