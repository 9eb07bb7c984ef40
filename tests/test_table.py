"""A table as a notebook shows it."""

from scalesearch.table import Cell, table, table_html


def test_everything_is_escaped_and_numbers_stand_right() -> None:
    html = table_html(table("<b>", ("name", "share"), [("<i>", Cell("3.0 %", 0.03)), ("x", "–")]), ["a & b"])
    assert "<strong>&lt;b&gt;</strong>" in html
    assert '<td>&lt;i&gt;</td><td style="text-align:right">3.0 %</td>' in html
    assert '<th>name</th><th style="text-align:right">share</th>' in html
    assert html.endswith("<p>a &amp; b</p></div>")
