from scalesearch.reports.axes import rendered
from scalesearch.reports.lr_figure import lr_figure


def test_it_names_the_suggestion_on_a_logarithmic_axis() -> None:
    figure = lr_figure([1e-5, 1e-4, 1e-3, 1e-2], [2.0, 1.8, 1.2, 3.0], 1e-4)
    axes = figure.axes[0]
    assert axes.get_xscale() == "log"
    assert [text.get_text() for text in axes.texts] == ["suggested: 0.0001"]
    assert rendered(figure, "png").startswith(b"\x89PNG")
