"""What a network is, how it scales, what it costs. Pure values and functions; never imports torch."""

from scalesearch.design.cost import spec_html
from scalesearch.design.spec import NetSpec

NetSpec._repr_html_ = spec_html  # type: ignore[attr-defined]  # a notebook shows what spec.py itself does not know
