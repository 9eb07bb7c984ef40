"""A search from Python, cell by cell: search, scale, fine-tune, plot. On embedded images, about a minute on two cores.

    python examples/notebook_style.py

In a notebook the last line of a cell shows itself: ``result``, ``family``, ``family["b1"].spec``, ``trained[0]``.
"""

# %% Search α, β, γ (jobs=1 starts no processes, so that this runs as a script, too; see scalesearch.grid)
import os

from matplotlib.figure import Figure

import scalesearch

epochs = int(os.environ.get("EXAMPLE_EPOCHS", "6"))
result = scalesearch.grid(
    "glyphs", space="mbconv_small", target_flops="1M", step=0.5, tolerance=0.3, images=250 * epochs, epochs=epochs,
    jobs=1, run="runs/example", tell=print,
)  # fmt: skip
print(f"Recommended: {result.coefficients}; the best is one of {', '.join(result.credible_set)}")

# %% Scale: the family that the coefficients span
family = result.family(largest=1)
print(family.table[["name", "phi", "resolution", "macs", "params", "ratio"]])

# %% Fine-tune its members: the first from scratch, the second from the first (weights="imagenet" takes torchvision's)
small = scalesearch.finetune(family["b0"].spec, "glyphs", run=result.folder, epochs=epochs, tell=print)
large = scalesearch.finetune(
    family["b1"].spec, "glyphs", run=result.folder, epochs=epochs, tell=print,
    weights=small.file, strategy="full",
)  # fmt: skip
trained = [small, large]

# %% Plot accuracy on the test images, with its interval, against FLOPs
figure = Figure(figsize=(5, 3.5), layout="constrained")
axes = figure.add_subplot(xlabel="FLOPs", ylabel="top-1 accuracy, test images", xscale="log")
axes.margins(0.3)
for model in trained:
    low, high = model.interval
    axes.errorbar(model.metrics["macs"], model.top1, [[model.top1 - low], [high - model.top1]], fmt="o", capsize=3)
    name = f"{model.metrics['model']}, from {'scratch' if model is small else 'b0'}"
    axes.annotate(name, (model.metrics["macs"], model.top1), (6, 6), textcoords="offset points")
figure.savefig("accuracy_flops.png")
print("accuracy_flops.png", result.report())
