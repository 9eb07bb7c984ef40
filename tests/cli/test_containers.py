"""As in containers: a user that the system does not know, homes that are missing or not to be written to, little shared
memory. Each is made for one process, which runs commands one after another; only the superuser can make them."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.conftest import MakeFolder
from tests.faces.conftest import write_people
from tests.stress.originals import face_models

ROOT = Path(__file__).parents[2]
USER = 12345
# Reads everything, as this test's files lie in folders of the superuser's, and writes where a user may.
NOBODY = (
    "setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--inh-caps=-all,+dac_read_search",
    "--ambient-caps=+dac_read_search",
)  # fmt: skip
SMALL_SHM = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs -o size=64k tmpfs /dev/shm && exec "$@"', "sh")
NAMES = ("HOME", "USER", "LOGNAME", "LNAME", "USERNAME", "XDG_CACHE_HOME", "MPLCONFIGDIR", "SCALESEARCH_CACHE")
FACES = "--body body.safetensors --gallery g.safetensors --device cpu"
SEARCH = (
    "grid --space mbconv_small --data images --target-flops 1M --epochs 1 --trials 2 --yes --device cpu --jobs 2 "
    "--run run",
    "report run",
)
USE = (
    "finetune --model mbconv_small --data images --resolution 16 --epochs 1 --device cpu --out model",
    "predict model/model.safetensors images/class0/000.png",
    "evaluate model/model.safetensors --data images --out judged",
    "doctor",
)
COMMANDS = (*SEARCH, *USE, f"faces enroll people {FACES}", f"faces identify people/person000 {FACES}")
IN_TURN = """
import json, sys
from scalesearch.api import search
from scalesearch.cli.main import run
from scalesearch.running.estimate import Timing
# made up, or workers that only measure would start before those that train
search.remembered = lambda *given: (Timing(0.0, 0.1, ((1, 0.01),), 32, 0, 16, 1), True)
if __name__ == "__main__":
    for command in json.loads(sys.argv[1]):
        sys.argv = ["scalesearch", *command.split()]
        try:
            run()
        except SystemExit as leaving:
            if leaving.code:
                sys.exit(f"{command} ended with {leaving.code}")
"""


@pytest.fixture
def place(tmp_path: Path, image_folder: MakeFolder) -> Iterator[Path]:
    """A folder that the unknown user may write to, with images, photos of people and a face body."""
    if os.getuid() or not shutil.which("setpriv") or not shutil.which("unshare"):
        pytest.skip("only the superuser can make such surroundings, with setpriv and unshare")
    with tempfile.TemporaryDirectory() as name:  # others may not look into ``tmp_path``
        root = Path(name)
        image_folder(str(root / "images"))
        write_people(root / "people", 3, 4, 0)
        (root / "body.safetensors").write_bytes(face_models(tmp_path)[0])
        (root / "script.py").write_text(IN_TURN)
        os.chmod(root, 0o755)
        os.chown(root, USER, USER)
        yield root


Done = subprocess.CompletedProcess[str]


def ended(place: Path, within: Sequence[str], commands: Sequence[str], **variables: str) -> Done:
    kept = {name: value for name, value in os.environ.items() if name not in NAMES}
    environment = {**kept, "PYTHONPATH": str(ROOT), **variables}
    return subprocess.run(
        [*within, sys.executable, "script.py", json.dumps(commands)],
        cwd=place, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


def skip_if_refused(result: Done) -> None:
    if any(word in result.stderr for word in ("setpriv:", "unshare:", "mount:")):
        pytest.skip(f"such surroundings cannot be made here ({result.stderr.strip()})")


@pytest.mark.timeout(600)
def test_a_user_that_the_system_does_not_know(place: Path) -> None:
    result = ended(place, NOBODY, COMMANDS, TMPDIR=str(place))
    skip_if_refused(result)
    assert result.returncode == 0, result.stderr
    assert f"{place}/scalesearch-{USER}" in result.stdout
    assert "~" not in result.stdout
    for noise in ("Matplotlib", "Fontconfig", "Traceback", "Permission denied"):
        assert noise not in result.stderr
    assert not (place / "~").exists()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("home", ["read-only", pytest.param("/nonexistent", marks=pytest.mark.slow)])
def test_homes_that_cannot_be_written_to(place: Path, home: str) -> None:
    (place / "read-only" / ".cache" / "scalesearch").mkdir(parents=True)
    chosen = str(place / home) if home == "read-only" else home
    result = ended(place, NOBODY, USE, TMPDIR=str(place), HOME=chosen)
    skip_if_refused(result)
    assert result.returncode == 0, result.stderr
    assert f"{place}/scalesearch-{USER}" in result.stdout
    assert "Matplotlib" not in result.stderr


@pytest.mark.timeout(600)
def test_a_cache_that_cannot_be_written_to_is_one_sentence(place: Path) -> None:
    result = ended(place, NOBODY, USE[:1], TMPDIR=str(place), SCALESEARCH_CACHE="/nowhere/at/all")
    skip_if_refused(result)
    assert result.returncode == 1  # of the script
    assert "ended with 2" in result.stderr
    assert "choose another cache folder (SCALESEARCH_CACHE)" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_little_shared_memory(place: Path) -> None:
    result = ended(place, SMALL_SHM, COMMANDS, SCALESEARCH_CACHE=str(place / "cache"))
    skip_if_refused(result)
    assert result.returncode == 0, result.stderr
