"""Scores at φ = 1 against scores at another φ: whether networks that win small win large."""

from matplotlib.figure import Figure

from scalesearch.reports import words
from scalesearch.reports.figures import canvas
from scalesearch.study.verification import SizeComparison, Verification

RECOMMENDED = canvas.Style("recommended", "*", canvas.RED, 15.0)
CONTROL = canvas.Style("one dimension alone", "s", canvas.ORANGE, 6.0)
BEATEN = canvas.Style("beaten at φ = 1", "D", canvas.GREY, 5.0)
MEMBER = canvas.Style("winner set of φ = 1", "o", canvas.BLUE, 6.0)


def transfer_figure(verified: Verification, look: canvas.Look = canvas.FILE) -> Figure:
    """Every network once, with both 95 % intervals; controls are named by their dimension, the others by name."""
    title = f"Score at φ = {verified.phi:g} against φ = 1: {words.tau(verified)}"
    figure, (axes,) = canvas.panels_beside(5.0, (1.0,), title, words.sizes_compared(verified), look)
    for style in (MEMBER, BEATEN, CONTROL, RECOMMENDED):
        ones = [one for one in verified.networks if _style(one) is style]
        if ones:
            axes.errorbar(
                [one.at_one.value for one in ones], [one.at_phi.value for one in ones],
                xerr=canvas.errors([one.at_one for one in ones]), yerr=canvas.errors([one.at_phi for one in ones]),
                fmt=style.marker, color=style.colour, markersize=style.size, label=style.label, elinewidth=0.8,
                capsize=2, markeredgecolor="black", markeredgewidth=0.5, zorder=4 if style is RECOMMENDED else 2,
            )  # fmt: skip
    # neighbours in score have their names on different sides
    for number, one in enumerate(sorted(verified.networks, key=lambda one: one.at_phi.value)):
        left = number % 2 == 1
        axes.annotate(
            one.control or one.name, (one.at_one.value, one.at_phi.value),
            xytext=(-6, -11) if left else (6, 5), ha="right" if left else "left", textcoords="offset points",
            fontsize=8, parse_math=False,
        )  # fmt: skip
    axes.set_xlabel("score at φ = 1, 95 % interval")
    axes.set_ylabel(f"score at φ = {verified.phi:g}, 95 % interval")
    axes.margins(0.08)
    axes.grid(alpha=0.25)
    canvas.legend_below(figure, look)
    return figure


def _style(one: SizeComparison) -> canvas.Style:
    if one.status == "recommended":
        return RECOMMENDED
    if one.control:
        return CONTROL
    return BEATEN if one.status == "beaten" else MEMBER
