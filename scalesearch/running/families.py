"""Families carried out: their members and published networks, trained side by side and judged on the test images."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from scalesearch.data.batches import Augment
from scalesearch.data.dataset import Dataset, Part
from scalesearch.design.spec import NetSpec
from scalesearch.errors import UserError
from scalesearch.files import read_json, write_json
from scalesearch.nets.measure import latencies
from scalesearch.running.campaign import Bounds
from scalesearch.running.carry_out import Listener, Show, carry_out, checkpoint_file, open_ledger, opened
from scalesearch.running.ledger import Ledger
from scalesearch.running.provenance import hardware
from scalesearch.running.storage import Storage, storage_url
from scalesearch.running.trial import Assignment, Setting
from scalesearch.running.workers import Workers
from scalesearch.study.family_plan import FamilyPlan, MemberTrial, member_row, planned
from scalesearch.study.family_record import (
    FAMILIES_FILE,
    LATENCIES_FILE,
    LATENCIES_FORMAT,
    WHAT,
    Latencies,
    family_values,
    read_family,
)
from scalesearch.study.plan import Measurement, differences
from scalesearch.study.race import Results
from scalesearch.study.row import JudgedOn, MemberRow, TrialResult, parse_member_row
from scalesearch.training.device import threads_for


class FamilyAgenda:
    """The agenda of families (``carry_out.Agenda``): each network with every seed, after the one it inherits from.

    Args:
        seeds: trainings of each network, besides those that choose learning rates.
        data_argument: the images as they were given, which models of ours note.
    """

    def __init__(self, plan: FamilyPlan, seeds: int, data_argument: str = "") -> None:
        self.plan, self.seeds, self._data_argument = plan, seeds, data_argument

    @property
    def digest(self) -> str:
        return self.plan.digest

    def setting(self, data: Dataset) -> Setting:
        judged: dict[JudgedOn, Part] = {"validation": data.validation, "test": data.test}
        return Setting(
            data.train, judged, Augment(flip=data.source.flip), self.plan.device, self.plan.threads,
            self._data_argument,
        )  # fmt: skip

    def wanted(self, results: Results) -> Sequence[MemberTrial]:
        """A failed training is not tried again, and nothing that inherits from it is trained."""
        return [one for one, ready in planned(self.plan, self.seeds, results) if ready and one.key not in results]

    def total(self, results: Results) -> int:
        return len(list(planned(self.plan, self.seeds, results)))

    def assignment(self, one: MemberTrial, folder: Path, results: Results) -> Assignment:
        kept = one.kept and isinstance(one.spec, NetSpec)
        return Assignment(
            one, checkpoint_file(folder, one.file), judged_on=one.judged_on,
            inherits=model_path(folder, one.parent) if one.parent else None,
            kept=model_path(folder, one.file) if kept else None,
        )  # fmt: skip

    def checkpoint(self, row: MemberRow) -> str:
        return row.file

    def row(self, one: MemberTrial, measurement: Measurement) -> MemberRow:
        return member_row(self.plan, one, measurement)

    def window(self, storage: Storage, note: Callable[[str], None]) -> Show[MemberRow]:
        """Nothing: Optuna shows searches."""
        return lambda rows, over: None

    def conclude(self, folder: Path, results: Results, rows: Sequence[MemberRow]) -> None:
        """Nothing: what the trainings come to is drawn from the record whenever it is asked for."""


def model_path(folder: Path, name: str) -> Path:
    """A trained network of families."""
    return folder / "models" / f"{name}.safetensors"


def recorded(folder: Path, plan: FamilyPlan, storage: str | None = None) -> list[TrialResult[MemberRow]]:
    """The trainings that the folder's ledger holds. Raises UserError where the folder holds other families."""
    _check_folder(folder, plan)
    if storage is None and not (folder / "study.db").exists():
        return []
    with contextlib.closing(Storage(storage_url(folder, storage))) as database:
        return Ledger(database, _run_name(database, plan), parse_member_row).finished()


def train_families(
    folder: Path,
    agenda: FamilyAgenda,
    data: Dataset,
    facts: Mapping[str, Any],
    workers: Workers,
    listener: Listener[MemberRow],
    bounds: Bounds | None = None,
    storage: str | None = None,
) -> None:
    """Runs what is still to be run; a second call continues, each training counts once.

    Args:
        facts: command, versions, hardware, date; a continued run keeps its first ones and lists all commands.
        bounds: of the work; None runs it to its end.
        storage: a PostgreSQL that coordinators share, who share the folder, too; None keeps the ledger in the folder.

    Raises:
        UserError: the folder is in use or holds other families, images cannot be decoded, the disk is full.
        KeyboardInterrupt: what is done is kept.
    """
    with opened(folder, storage, listener.note) as database:
        _check_folder(folder, agenda.plan)
        _write_plan(folder, agenda, dict(facts))
        ledger = open_ledger(database, _run_name(database, agenda.plan), parse_member_row)
        carry_out(ledger, folder, agenda, data, workers, listener, bounds)


def measure_latencies(folder: Path, plan: FamilyPlan, note: Callable[[str], None]) -> None:
    """Times all networks of the plan by turns, with as many threads as a training has, and keeps that in the folder.

    Nothing of the families may be training meanwhile. What is there stays, unless something else ran then; nothing is
    measured where the plan's device is absent, as a GPU may be on the machine that drives a cluster, or where memory
    does not hold all networks, which ``note`` is told.
    """
    before, device = read_family(folder).latencies, torch.device(plan.device)
    if (before and not before.busy) or (device.type == "cuda" and not torch.cuda.is_available()):
        return
    try:
        with threads_for(device, plan.threads):
            timed = latencies([one.spec for one in plan.contenders], 1, device)
    except RuntimeError as error:  # torch's, such as no memory for all of them: what was trained stands without
        note(f"Latencies are not measured: {str(error).splitlines()[0]}")
        return
    worst = max(timed, key=lambda one: one.spread)
    named = zip(plan.contenders, timed, strict=True)
    how = f"{worst}; networks by turns, on {hardware(plan.device)}"
    measured = Latencies(plan.digest, {one.name: 1e3 * its.seconds for one, its in named}, how, worst.busy)
    write_json(folder / LATENCIES_FILE, {"format": LATENCIES_FORMAT, **asdict(measured)})


def _run_name(storage: Storage, plan: FamilyPlan) -> str:
    """In a shared database the plan says which trainings are the same; a folder has one set of families."""
    return f"families-{plan.digest}" if storage.shared else "families"


def _check_folder(folder: Path, plan: FamilyPlan) -> None:
    path = folder / FAMILIES_FILE
    if not path.exists():
        return
    there = read_json(path, WHAT).get("plan")
    with contextlib.suppress(UserError):  # of a form that this version does not know
        there = FamilyPlan.from_dict(there).deciding()
    lines = differences(_by_name(there if isinstance(there, dict) else {}), _by_name(plan.deciding()))
    if lines:
        inherits = any(".parent: " in line for line in lines)
        shown = "; ".join(lines[:6]) + (f"; and {len(lines) - 6} more" if len(lines) > 6 else "")
        raise UserError(
            str(folder), f"the folder holds other families ({shown}).",
            do=f"Give the same options{', --inherit too' if inherits else ''}, or another folder with --out.",
        )  # fmt: skip


def _by_name(plan: dict[str, Any]) -> dict[str, Any]:
    """A plan whose contenders are told apart by name, where it is one."""
    listed = plan.get("contenders")
    if isinstance(listed, list) and all(isinstance(one, dict) and "name" in one for one in listed):
        return {**plan, "contenders": {str(one["name"]): one for one in listed}}
    return plan


def _write_plan(folder: Path, agenda: FamilyAgenda, facts: dict[str, Any]) -> None:
    path, command = folder / FAMILIES_FILE, facts.pop("command")
    before = read_json(path, WHAT) if path.exists() else {}
    earlier = before.get("commands")
    commands = [*(earlier if isinstance(earlier, list) else ()), command]
    kept = {name: before.get(name, value) for name, value in facts.items()}
    write_json(path, family_values(agenda.plan, agenda.seeds, {**kept, "commands": commands}))
