"""headstart: reuse what a neural network already knows."""

__version__ = "0.1.0"
