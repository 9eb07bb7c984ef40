"""Every command that reads a run refuses one whose files contradict one another, and leaves nothing behind."""

from pathlib import Path

from tests.cli.conftest import Cli
from tests.study.contradictions import copied, mutations
from tests.study.runs import golden

COMMANDS = (
    ("report", "work"), ("report", "work", "run"), ("family", "--run", "work"), ("scale", "--phi", 2, "--run", "work"),
    ("verify", "--run", "work", "--dry-run"), ("finetune", "--run", "work", "--model", "b1", "--data", "glyphs"),
)  # fmt: skip


def test_every_command_refuses_with_the_file_and_the_field(cli: Cli, tmp_path: Path) -> None:
    run = golden(tmp_path / "run")
    for file, place in (
        ("rows.json", "rows[2].score"), ("winners.json", "standings[1].best"), ("coefficients.json", "top1"),
        ("run.json", "plan.majority"), ("verify-phi2/verify.json", "networks[0].accuracy"),
    ):  # fmt: skip
        work = copied(run, tmp_path / "work")
        next(one for one in mutations(run) if (one.file, one.place) == (file, place)).apply(work)
        for command in COMMANDS:
            ended = cli(*command)
            assert ended.code == 2, (file, command, ended.out)
            assert Path(file).name in ended.err
            assert place.rpartition(".")[2] in ended.err or "plan_digest" in ended.err
        assert not (work / "models" / "b1-glyphs" / "checkpoint.safetensors").exists()
        assert not (work / "report").exists()
