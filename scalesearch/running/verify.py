"""Does φ = 1 transfer? Networks of a finished search, scaled to another φ, trained there, and compared with φ = 1.

A search assumes that the candidate that wins at φ = 1 wins at larger φ. Here some of its winners, some that were beaten
and every control are trained at φ, all at the same real FLOPs, as the search trained them. What is kept lies in
``RUN/verify-phi2``: a row and the predictions of each training, so that an interrupted verification continues.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from scalesearch.data.batches import Augment
from scalesearch.data.dataset import Dataset
from scalesearch.design.candidates import SEARCH_RATIO, Candidate
from scalesearch.design.controls import controls
from scalesearch.design.cost import cost, score
from scalesearch.design.family import member
from scalesearch.design.scaling import check_buildable
from scalesearch.design.spec import NetSpec, reshape
from scalesearch.errors import UserError
from scalesearch.files import locked, prepare, read_json, write_json
from scalesearch.running.campaign import Bounds, Campaign
from scalesearch.running.folder import RUN_FILE
from scalesearch.running.ledger import Ledger
from scalesearch.running.search import Listener, check_format
from scalesearch.running.storage import Storage, storage_url
from scalesearch.running.trial import Assignment, Setting, run_trial
from scalesearch.running.workers import Workers
from scalesearch.study.agreement import Interval, Regret, rank_agreement, regret, repeat_tau, weigh_together
from scalesearch.study.answer import Answer, read_answer
from scalesearch.study.conclude import name
from scalesearch.study.kept import FILE as ROWS_FILE
from scalesearch.study.kept import check_rows, hits, read_hits, read_rows, write_predictions, write_rows
from scalesearch.study.plan import Measured, SearchPlan, Trial, row
from scalesearch.study.race import Results
from scalesearch.study.row import Finished, Row, key
from scalesearch.study.statistics import Bools, Evidence, seed_spread

FILE = "verify.json"
FORMAT = 1
LARGEST_PHI = 10  # a thousand times the baseline's FLOPs


@dataclass(frozen=True, eq=False)
class Searched:
    """A run as a verification finds it; ``given`` is what its search was given as --data."""

    folder: Path
    plan: SearchPlan
    candidates: tuple[Candidate, ...]
    answer: Answer
    results: Results
    given: str


@dataclass(frozen=True)
class Network:
    """A candidate scaled to φ; ``status`` is what the search said of it: recommended, member, undecided or beaten."""

    candidate: Candidate
    status: str
    spec: NetSpec
    macs: int
    ratio: float


@dataclass(frozen=True)
class Compared:
    """A network judged at both sizes.

    Args:
        control: the one dimension it scales, or empty.
        ratio: multiply-adds at φ over the baseline's.
        at_one, at_phi: scores with their 95 % intervals, each network's by itself.
        rank_at_one, rank_at_phi: from 1, among the networks compared.
        seeds_at_one, seeds_at_phi: trainings behind each score.
        accuracy: at φ, the share of validation images right.
    """

    name: str
    control: str
    status: str
    ratio: float
    macs: int
    resolution: int
    at_one: Interval
    at_phi: Interval
    rank_at_one: int
    rank_at_phi: int
    seeds_at_one: int
    seeds_at_phi: int
    accuracy: float


@dataclass(frozen=True)
class Verification:
    """What came out, kept as ``verify.json``.

    Args:
        epochs: of the trainings at φ; ``epochs_at_one`` of those compared with; ``full_epochs`` of a full one.
        fully_trained: whether both were trained as long as the search trains those it recommends.
        networks: those with a result at both sizes, in the order they were chosen; ``failed``: names without.
        best: the name with the highest score at φ.
        tau: Kendall's τ-b between the scores at both sizes (``agreement.rank_agreement``).
        repeat_tau: what φ would agree with itself, trained again (``agreement.repeat_tau``).
        regret: in score at φ; None where the recommended network failed there. Its ``against`` counts in ``networks``.
        seed_sd: standard deviation of an accuracy between seeds beyond the images' noise, of both sizes.
    """

    phi: float
    epochs: int
    epochs_at_one: int
    full_epochs: int
    fully_trained: bool
    images: int
    classes: int
    networks: tuple[Compared, ...]
    failed: tuple[str, ...]
    recommended: str
    best: str
    tau: Interval | None
    repeat_tau: float | None
    regret: Regret | None
    seed_sd: float | None


def read_searched(folder: Path) -> Searched:
    """A run with an answer, finished or not.

    Raises:
        UserError: no run there, one of another version, or one without an answer.
    """
    path = folder / RUN_FILE
    if not path.is_file():
        raise UserError(
            "--run", f"{folder} without {RUN_FILE}", "the folder of a search",
            'Run "scalesearch grid" first, or name one.',
        )  # fmt: skip
    values = read_json(path, "a run of scalesearch")
    check_format(folder, values)
    try:
        plan, given = SearchPlan.from_dict(values["plan"]), values["data_argument"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            str(path), f"no plan that this version reads ({error})", "a run of this version", "Search again."
        ) from None
    answer = read_answer(folder)
    if answer is None:
        raise UserError(
            "--run", f"{folder} without an answer", "a search with results", 'Run "scalesearch grid" again.'
        )
    results = read_hits(folder, read_rows(folder, plan.digest))
    return Searched(folder, plan, plan.enumerate().candidates, answer, results, given)


def folder_of(searched: Searched, phi: float) -> Path:
    """Where the verification at φ lies, in the run's folder."""
    return searched.folder / f"verify-phi{phi:g}"


def chosen(answer: Answer, candidates: Sequence[Candidate], members: int, beaten: int) -> tuple[Candidate, ...]:
    """Which candidates to verify: the recommended one, other members, beaten ones, then every control.

    Args:
        members: others of the winner set, the best first.
        beaten: spread evenly over the ranking down to its last, so that a rank correlation has range; where fewer were
            beaten, over all that are left. Of either, controls do not count: they are taken in any case.
    """
    ranked = [standing for standing in answer.standings if not standing.control]
    first = [standing.name for standing in ranked if standing.name == answer.recommended]
    first += [s.name for s in ranked if s.status != "beaten" and s.name != answer.recommended][:members]
    left = [standing for standing in ranked if standing.name not in first]
    out = [standing for standing in left if standing.status == "beaten"]
    pool = out if len(out) >= beaten else left
    count = min(beaten, len(pool))
    spread = [pool[(place + 1) * len(pool) // count - 1].name for place in range(count)]
    ran = {standing.name for standing in answer.standings}
    by_name = {name(candidate.index): candidate for candidate in candidates}
    alone = [n for n, candidate in by_name.items() if candidate.control and n in ran]
    return tuple(by_name[one] for one in dict.fromkeys([*first, *spread, *alone]))


def scaled(plan: SearchPlan, answer: Answer, candidates: Sequence[Candidate], phi: float) -> tuple[Network, ...]:
    """Candidates at φ: by their coefficients, controls by one dimension alone, each at about 2^φ times the baseline.

    A control whose dimension alone cannot grow so far is left out.

    Raises:
        UserError: φ not above 0, the search's own 1, or networks too large to build.
    """
    if not 0 < phi <= LARGEST_PHI or phi == 1:
        expected = f"a number above 0, at most {LARGEST_PHI}, other than 1, which the search trained"
        raise UserError("--phi", f"{phi:g}", expected)
    status = {standing.name: standing.status for standing in answer.standings} | {answer.recommended: "recommended"}
    base = cost(plan.baseline).macs
    found = []
    for candidate in candidates:
        # made for controls, too, for its checks of φ
        spec: NetSpec | None = member(plan.baseline, candidate.coefficients, phi, plan.rounding).spec
        if candidate.control:
            spec = _control(plan.baseline, candidate.control, phi)
        if spec is not None:
            check_buildable(spec, "--phi")
            macs = cost(spec).macs
            named = replace(spec, name=name(candidate.index))
            found.append(Network(candidate, status[named.name], named, macs, macs / base))
    return tuple(found)


def _control(baseline: NetSpec, dimension: str, phi: float) -> NetSpec | None:
    for control in controls(baseline, SEARCH_RATIO**phi * cost(baseline).macs):
        if control.dimension == dimension:
            return reshape(baseline, control.shape)
    return None


def trials(plan: SearchPlan, networks: Sequence[Network], seeds: int, epochs: int | None) -> tuple[Trial, ...]:
    """The trainings at φ, the first seed of all networks first; ``epochs`` None is as long as the search's."""
    train = plan.train
    if epochs is not None:
        train = replace(train, epochs=epochs, warmup_epochs=min(train.warmup_epochs, epochs / 4))
    return tuple(
        Trial(
            one.candidate.index, seed, one.spec.name, one.spec, plan.proxy.spec(one.spec), one.candidate.coefficients,
            replace(train, seed=seed), train.epochs, plan.weights,
        )
        for seed in range(seeds)
        for one in networks
    )  # fmt: skip


def kept_rows(searched: Searched, phi: float) -> list[Row]:
    """The trainings that a verification at φ holds already. Raises UserError where they are of another search."""
    return read_rows(folder_of(searched, phi), searched.plan.digest)


def split_done(wanted: Sequence[Trial], lines: Sequence[Row]) -> tuple[list[Row], list[Trial]]:
    """The rows of those that are done, and those still to be run; a failed one is not tried again.

    Raises UserError where one was of another network.
    """
    done = {key(line): line for line in lines}
    for one in wanted:
        if one.key in done and done[one.key]["digest"] != one.spec.digest:
            raise UserError(
                ROWS_FILE, f"{one.name} of another shape", f"digest {one.spec.digest}",
                "This version scales it differently: delete the verification's folder.",
            )  # fmt: skip
    return [done[one.key] for one in wanted if one.key in done], [one for one in wanted if one.key not in done]


def verify(
    searched: Searched,
    networks: Sequence[Network],
    phi: float,
    wanted: Sequence[Trial],
    data: Dataset,
    workers: Workers,
    listener: Listener,
    bounds: Bounds | None = None,
    storage: str | None = None,
) -> Verification:
    """Runs what is still to be run, and concludes; the result is in ``verify.json``, too.

    Args:
        networks: of ``scaled``; ``wanted``: their trainings, of ``trials``.
        workers: where trainings run.
        listener: is told of each training as in a search.
        bounds: of the work; None runs it to its end.
        storage: a PostgreSQL that coordinators share; None keeps the ledger in the folder.

    Raises:
        UserError: the run's folder is in use, or nothing came out that could be compared.
        KeyboardInterrupt: what is done is kept.
    """
    folder = folder_of(searched, phi)
    prepare(folder)
    plan = searched.plan
    kept = Storage(storage_url(folder, storage), listener.note)
    with contextlib.nullcontext() if kept.shared else locked(searched.folder), contextlib.closing(kept):
        kept_rows(searched, phi)  # refuses another search's
        ledger = Ledger(kept, f"{plan.digest}-phi{phi:g}" if kept.shared else plan.digest)
        if not kept.shared:
            ledger.free_all()
        work = _Verifying(searched, networks, folder, wanted, listener)
        setting = Setting(data.train, data.validation, Augment(flip=data.source.flip), plan.device, plan.threads)
        before = ledger.finished()
        check_rows([one.row for one in before], kept.name)
        work.known(before)
        for size in sorted({one.proxy_spec.resolution for one in work.wanted()}):  # once, before workers ask for them
            data.train.at(size, listener.reading)
            data.validation.at(size, listener.reading)
        with contextlib.closing(workers.start(partial(run_trial, setting))) as executor:
            Campaign(ledger, executor, work, bounds or Bounds(), workers.retries, workers.silent_seconds).run()
        found = compare_sizes(searched, networks, phi, wanted, work.results)
        write_json(folder / FILE, {"format": FORMAT, **asdict(found)})
        return found


class _Verifying:
    """A verification's trainings as the work of a campaign."""

    def __init__(
        self, searched: Searched, networks: Sequence[Network], folder: Path, wanted: Sequence[Trial], listener: Listener
    ) -> None:
        self.results: dict[tuple[int, int, int], Bools | None] = {}
        self._searched, self._folder, self._trials, self._listener = searched, folder, wanted, listener
        self._candidates = {network.candidate.index: network.candidate for network in networks}
        self._rows: list[Row] = []

    def wanted(self) -> Sequence[Trial]:
        """Of ``campaign.Work``; a failed one is not tried again."""
        return [one for one in self._trials if one.key not in self.results]

    def assignment(self, one: Trial) -> Assignment:
        """Of ``campaign.Work``."""
        return Assignment(one, _checkpoint(self._folder, one.file))

    def row(self, one: Trial, measured: Measured) -> Row:
        """Of ``campaign.Work``."""
        return row(self._searched.plan, one, self._candidates[one.candidate], measured)

    def note(self, text: str) -> None:
        """Of ``campaign.Work``."""
        self._listener.note(text)

    def heard(self, finished: Sequence[Finished]) -> None:
        """Of ``campaign.Work``."""
        new = [one for one in finished if key(one.row) not in self.results]
        self.known(new)
        done = len(self._trials) - len(self.wanted())
        for number, one in enumerate(new, start=done - len(new) + 1):
            line = one.row
            _checkpoint(self._folder, f"{line['name']}-seed{line['seed']}-e{line['epochs']}").unlink(missing_ok=True)
            self._listener.finished(line, number, len(self._trials))

    def known(self, finished: Sequence[Finished]) -> None:
        """Takes results in; predictions first, so that no row stands without them."""
        for one in finished:
            write_predictions(self._folder, one)
            self.results[key(one.row)] = hits(one)
            self._rows.append(one.row)
        if finished:
            write_rows(self._folder, self._rows, self._searched.plan.digest)


def read_verifications(folder: Path) -> tuple[Verification, ...]:
    """What was verified in a run's folder, by φ. Raises UserError for a damaged or foreign file."""
    found = [_read_verification(path) for path in folder.glob(f"verify-phi*/{FILE}")]
    return tuple(sorted(found, key=lambda one: one.phi))


def _read_verification(path: Path) -> Verification:
    values = read_json(path, "a verification")
    if values.pop("format", None) != FORMAT:
        raise UserError(str(path), "another format", f"format {FORMAT}", "Verify again with this version.")
    try:
        networks = tuple(
            Compared(**{**item, "at_one": Interval(**item["at_one"]), "at_phi": Interval(**item["at_phi"])})
            for item in values.pop("networks")
        )
        tau, lost = values.pop("tau"), values.pop("regret")
        return Verification(
            **{**values, "failed": tuple(values["failed"])}, networks=networks,
            tau=Interval(**tau) if tau else None, regret=Regret(**lost) if lost else None,
        )  # fmt: skip
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(str(path), f"a damaged file ({error})", "a verification", "Verify again.") from None


def _checkpoint(folder: Path, name: str) -> Path:
    return folder / "checkpoints" / f"{name}.safetensors"


def compare_sizes(
    searched: Searched, networks: Sequence[Network], phi: float, wanted: Sequence[Trial], results: Results
) -> Verification:
    """The verdict from the trainings at both sizes.

    φ = 1 counts by the largest number of epochs that all the networks were trained for there, so that none is compared
    at another length than the others.

    Args:
        results: at φ, by candidate, seed and epochs.

    Raises:
        UserError: fewer than two networks have a result at both sizes.
    """
    plan, numbers = searched.plan, [network.candidate.index for network in networks]
    epochs, seeds = wanted[0].until, {one.seed for one in wanted}
    at_phi = {
        number: right
        for number in numbers
        if (right := {s: r for s, r in seeds_at(results, number, epochs).items() if s in seeds})
    }
    epochs_at_one = common_epochs(searched.results, numbers)
    judged = [network for network in networks if network.candidate.index in at_phi]
    if len(judged) < 2:
        raise UserError(
            str(searched.folder), f"{len(judged)} networks trained at φ = {phi:g}", "at least two to compare",
            "The rows of the verification say why trainings failed.",
        )  # fmt: skip
    first = [_stacked(seeds_at(searched.results, n.candidate.index, epochs_at_one)) for n in judged]
    second = [_stacked(at_phi[n.candidate.index]) for n in judged]
    everybody = [_stacked(right) for n in {n for n, _, _ in searched.results}
                 if (right := seeds_at(searched.results, n, epochs_at_one))]  # fmt: skip
    spread = seed_spread([*everybody, *second])
    one, phi_ = weigh_together(
        first, second,
        [score(1.0, n.candidate.macs, plan.target_macs) for n in judged],
        [score(1.0, n.macs, plan.target_macs) for n in judged], spread,
    )  # fmt: skip
    names = [n.spec.name for n in judged]
    recommended = searched.answer.recommended
    return Verification(
        phi=phi, epochs=epochs, epochs_at_one=epochs_at_one, full_epochs=plan.train.epochs,
        fully_trained=min(epochs, epochs_at_one) >= plan.train.epochs, images=first[0].shape[1],
        classes=plan.baseline.classes,
        networks=_compared(judged, one, phi_, second),
        failed=tuple(n.spec.name for n in networks if n not in judged),
        recommended=recommended, best=names[int(np.argmax(phi_.scores))], tau=rank_agreement(one, phi_),
        repeat_tau=repeat_tau(phi_), regret=regret(phi_, names.index(recommended)) if recommended in names else None,
        seed_sd=spread.sd if spread else None,
    )  # fmt: skip


def common_epochs(results: Results, numbers: Sequence[int]) -> int:
    """The largest number of epochs at which all of these candidates have a result. Raises UserError without one."""
    reached = [{e for n, _, e in results if n == number and seeds_at(results, n, e)} for number in numbers]
    common = set.intersection(*reached)
    if not common:
        raise UserError(
            "--run", "a search without a number of epochs that all the networks were trained for", "one",
            'Run "scalesearch grid" again to go on with it.',
        )  # fmt: skip
    return max(common)


def seeds_at(results: Results, number: int, epochs: int) -> dict[int, Bools]:
    """Seed → which images were right, of one candidate at one number of epochs."""
    found: dict[int, Bools] = {}
    for (n, seed, e), right in results.items():
        if (n, e) == (number, epochs) and right is not None:
            found[seed] = right
    return dict(sorted(found.items()))


def _stacked(right: dict[int, Bools]) -> Bools:
    return np.stack(list(right.values()))


def _compared(
    judged: Sequence[Network], one: Evidence, phi_: Evidence, second: Sequence[Bools]
) -> tuple[Compared, ...]:
    ranks = [ranked(evidence) for evidence in (one, phi_)]
    return tuple(
        Compared(
            name=network.spec.name, control=network.candidate.control, status=network.status, ratio=network.ratio,
            macs=network.macs, resolution=network.spec.resolution,
            at_one=Interval(float(one.scores[place]), *one.interval(place)),
            at_phi=Interval(float(phi_.scores[place]), *phi_.interval(place)),
            rank_at_one=ranks[0][place], rank_at_phi=ranks[1][place],
            seeds_at_one=int(one.seeds[place]), seeds_at_phi=int(phi_.seeds[place]),
            accuracy=float(second[place].mean()),
        )
        for place, network in enumerate(judged)
    )  # fmt: skip


def ranked(evidence: Evidence) -> list[int]:
    """Each network's rank by score, from 1; ties share the better one."""
    return [1 + int((evidence.scores > own).sum()) for own in evidence.scores]
