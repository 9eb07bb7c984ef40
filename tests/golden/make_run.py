"""Makes the run folder that later versions must read: ``python -m tests.golden.make_run tests/golden/run-VERSION``.

Run it when a version is released, and never again for that version.
"""

import shutil
import subprocess
import sys
from pathlib import Path

SEARCH = (
    "grid", "--space", "mbconv_small", "--target-flops", "1M", "--step", "0.25", "--images", "640", "--epochs", "25",
    "--batch-size", "16", "--lr", "0.004", "--jobs", "1", "--yes",
)  # fmt: skip


def main() -> None:
    folder = Path(sys.argv[1])
    if folder.exists():
        sys.exit(f"{folder} is there; runs of released versions do not change")
    subprocess.run([sys.executable, "-m", "scalesearch", *SEARCH, "--run", str(folder)], check=True)
    for name in ("checkpoints", ".lock"):  # large, and nothing
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
