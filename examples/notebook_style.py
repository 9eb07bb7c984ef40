"""A search from Python, cell by cell: search, scale, fine-tune, plot. On embedded images, about a minute on two cores.

    python examples/notebook_style.py

In a notebook the last line of a cell shows itself: ``found``, ``family``, ``family["b1"].spec``, ``trained[0]``.
"""

# %% Search α, β, γ: seven networks are raced (jobs=1: no further processes, so that this works as a script, too)
import os

from matplotlib.figure import Figure

import scalesearch

epochs = int(os.environ.get("EXAMPLE_EPOCHS", "3"))
found = scalesearch.grid(
    "glyphs", space="mbconv_small", target_flops="1M", step=0.5, tolerance=0.3, images=600, epochs=epochs, jobs=1,
    run="runs/example", tell=print,
)  # fmt: skip
print(f"Recommended: {found.coefficients}; not to be told from it: {', '.join(found.winner_set)}")

# %% Scale: the family that the coefficients span
family = found.family(largest=1)
print(family.table[["name", "phi", "resolution", "macs", "params", "ratio"]])

# %% Fine-tune its members at 24 px, from scratch (weights="imagenet" inherits); the second inherits from the first
small = scalesearch.finetune(
    family["b0"].spec, "glyphs", run=found.folder, resolution=24, epochs=epochs, batch_size=64, tell=print
)
large = scalesearch.finetune(
    family["b1"].spec, "glyphs", run=found.folder, resolution=24, epochs=epochs, batch_size=64, tell=print,
    weights=small.file, strategy="full",
)  # fmt: skip
trained = [small, large]

# %% Plot accuracy on the test images, with its interval, against FLOPs
figure = Figure(figsize=(5, 3.5), layout="constrained")
axes = figure.add_subplot(xlabel="FLOPs", ylabel="top-1 accuracy, test images", xscale="log")
for model in trained:
    low, high = model.interval
    axes.errorbar(model.metrics["macs"], model.top1, [[model.top1 - low], [high - model.top1]], fmt="o", capsize=3)
    axes.annotate(model.metrics["model"], (model.metrics["macs"], model.top1), (6, 6), textcoords="offset points")
figure.savefig("accuracy_flops.png")
print("accuracy_flops.png", found.report())
