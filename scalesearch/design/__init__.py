"""What a network is, how it scales, what it costs. Pure values and functions; never imports torch."""

from scalesearch.design.cost import part_table
from scalesearch.design.spec import NetSpec
from scalesearch.table import table_html

# a notebook shows what spec.py itself does not know
NetSpec._repr_html_ = lambda spec: table_html(  # type: ignore[attr-defined]
    part_table(spec, spec.name), [f"digest {spec.digest}"]
)
