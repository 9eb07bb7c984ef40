from matplotlib.figure import Figure

from scalesearch.reports.figures.canvas import BLUE
from scalesearch.reports.figures.formats import inline_svg
from tests.reports.pages import everything, read


def drawn(label: str) -> Figure:
    figure = Figure(figsize=(2, 2))
    axes = figure.subplots()
    axes.plot([0, 1], [0.123456789, 1], "o-", color=BLUE, clip_on=True)
    axes.set_title(label, parse_math=False)
    return figure


def test_text_stays_text_and_keeps_its_digits() -> None:
    tree = read(inline_svg(drawn('1.23456 M <b> "x"'), "one", "a <title>", "its & description"))
    texts = [one.text for one in tree.all("text")]
    assert '1.23456 M <b> "x"' in texts
    assert tree.all("title")[0].text == "a <title>"
    assert tree.all("desc")[0].text == "its & description"
    assert all("font-family: inherit" in one.attributes["style"] for one in tree.all("text"))


def test_two_figures_of_a_page_share_no_ids_and_refer_to_their_own() -> None:
    trees = [read(inline_svg(drawn("same"), name, "t", "d")) for name in ("one", "two")]
    ids = [{e.attributes["id"] for e in everything(tree) if "id" in e.attributes} for tree in trees]
    assert not ids[0] & ids[1]
    for tree, own in zip(trees, ids, strict=True):
        uses = [one.attributes["href"] for one in tree.all("use")]
        assert uses
        assert {use[1:] for use in uses} <= own


def test_colours_are_the_page_s_and_coordinates_are_short() -> None:
    text = inline_svg(drawn("x"), "one", "t", "d")
    assert BLUE.lower() not in text
    assert "var(--blue)" in text
    paths = [one.attributes["d"] for one in read(text).all("path") if "d" in one.attributes]
    assert paths
    assert max(len(number.partition(".")[2]) for path in paths for number in path.split()) == 2
