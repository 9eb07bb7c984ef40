"""EfficientNet's compound scaling, searched by training, on anybody's data."""

__version__ = "0.1.0"
