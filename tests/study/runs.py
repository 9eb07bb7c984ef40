"""Run folders that nobody searched: the first version's with more in it, and two whose trainings are made up."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from scalesearch.design.cost import cost
from scalesearch.design.space import Grid, load_space
from scalesearch.files import write_json
from scalesearch.study.answer import conclude, field, measured_speeds, recommend, write_answer
from scalesearch.study.config import TrainConfig
from scalesearch.study.outcomes import packed, write_predictions, write_rows
from scalesearch.study.plan import Measurement, SearchPlan, trial
from scalesearch.study.plan import row as plan_row
from scalesearch.study.proxy import Proxy
from scalesearch.study.race import Race, Results, advance
from scalesearch.study.record import FORMAT, read_record
from scalesearch.study.row import BASELINE, Row, TrialResult
from tests.study.contradictions import copied, verified

GOLDEN = Path(__file__).parents[1] / "golden" / "run-0.1.0"


def golden(folder: Path) -> Path:
    """The first version's, with a verification and a member trained in it."""
    run = copied(GOLDEN, folder)
    verified(run)
    record = read_record(run)
    spec = replace(record.enumeration.candidates[4].spec, name="b1")
    model = run / "models" / "b1-glyphs"
    model.mkdir(parents=True)
    save_file({"none": np.zeros(1)}, model / "model.safetensors", {"spec": json.dumps(spec.to_dict())})
    write_json(model / "metrics.json", {
        "model": "b1", "macs": cost(spec).macs, "start": "scratch", "source_digest": record.provenance.source_digest,
        "command": "scalesearch finetune", "test": {"top1": 0.75, "correct": 750, "images": 1000, "low": 0.72},
        "history": [{"epoch": 0, "metrics": {"top1": 0.5}}, {"epoch": 1, "metrics": {"top1": 0.7}}],
    })  # fmt: skip
    return run


def ordered(folder: Path) -> Path:
    """A race that is not over: candidates ordered by a short rung, one that failed, most trained to the end."""
    return made_up(folder, Race(4, 1, further=2), 26)


def undecided(folder: Path) -> Path:
    """A race of which only the short rung is over."""
    return made_up(folder, Race(4, 1, further=2), 10)


def made_up(folder: Path, race: Race, trainings: int) -> Path:
    """A run whose trainings are made up: better ones at higher numbers, and candidate 1 fails."""
    labels, rng = np.arange(120) % 4, np.random.default_rng(0)
    baseline = replace(load_space("mbconv_small").baseline, classes=4, resolution=16)
    plan = SearchPlan(
        space="mbconv_small", baseline=baseline, grid=Grid(0.2, 0.2), rounding="budget", real_tolerance=0.1,
        target_macs=2e6, data="made_up", data_digest="0123456789ab", validation=len(labels), majority=0.25,
        proxy=Proxy(baseline, race.full, 300), train=TrainConfig(epochs=race.full), device="cpu",
    )  # fmt: skip
    listed, results, rows = plan.enumerate(), Results(), list[Row]()
    takers = field(plan, listed.candidates)
    while (wanted := advance(race, takers, results).wanted) and len(rows) < trainings:
        one = trial(plan, listed.candidates, wanted[0])
        right = rng.random(len(labels)) < 0.5 + 0.02 * one.candidate + 0.05 * one.until
        soft = rng.random(len(labels)).astype(np.float16).astype(np.float32)
        failed = one.candidate == 1
        measured = Measurement(
            cost(one.spec).macs, 2 * cost(one.spec).macs, 0 if failed else int(right.sum()), 0 if failed else 120, 0.5,
            10.0 + len(rows), "no luck" if failed else "", latency_ms=None if failed or one.until < race.full else 1.5,
        )  # fmt: skip
        candidate = None if one.candidate == BASELINE else listed.candidates[one.candidate]
        rows.append(plan_row(plan, one, candidate, measured))
        told = np.where(right, labels, (labels + 1) % 4)
        predictions = b"" if failed else packed(labels, told, soft, (), (0.5 + soft / 2).astype(np.float32))
        write_predictions(folder, TrialResult(rows[-1], predictions))
        results.add(one.key, *((None,) if failed else (right, soft)))
    rows.sort(key=lambda row: row.key)
    write_rows(folder, rows, plan.digest)
    state = advance(race, takers, results)
    answer = conclude(race, state, takers, listed.candidates, results, measured_speeds(rows))
    assert answer is not None
    write_answer(folder, answer, recommend(plan, answer, listed.candidates, results, len(state.wanted)))
    write_json(folder / "run.json", {
        "data_argument": "made_up", "command": "scalesearch grid", "versions": {"scalesearch": "0"}, "hardware": "none",
        "date": "today", "classes": 4, "images": {"train": 300, "validation": 120, "test": 80}, "notes": ["a note"],
        "source_digest": "0" * 12, "nominal": listed.nominal, "candidates": len(listed.candidates),
        "storage": "study.db", "format": FORMAT, "plan": plan.to_dict(), "plan_digest": plan.digest, "seconds": 99.0,
        "continued": [{"command": "scalesearch grid --further 2"}],
    })  # fmt: skip
    return folder
