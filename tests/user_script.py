"""A user's program by README's Python interface: checked by ``mypy --strict`` and run by ``tests.smoke``."""

import scalesearch

result = scalesearch.grid(
    "images", space="mbconv_small", target_flops="1M", step=0.5, tolerance=0.3, epochs=4, batch_size=8, lr=0.01,
    run="run",
)  # fmt: skip
alpha: float = result.coefficients.alpha
b1: scalesearch.NetSpec = result.family()["b1"].spec
assert result.scale(2.5).resolution >= b1.resolution
model = scalesearch.finetune(b1, "images", epochs=1, batch_size=16, out="mine", tell=print)
low, high = model.interval
print(f"{alpha:.2f}: top-1 {model.top1:.3f} ({low:.3f} to {high:.3f})")
print(scalesearch.evaluate(model).per_class)
for prediction in scalesearch.predict(model, "images/test"):
    assert prediction.label in ("class0", "class1")
coefficients = scalesearch.Coefficients(1.2, 1.1, 1.15)
parameters = scalesearch.build(scalesearch.scale("mbconv_small", 1, coefficients=coefficients)).parameters()
print(sum(one.numel() for one in parameters))
try:
    scalesearch.load_space("no such space")
except scalesearch.UserError as error:
    print(error)
