"""A run as one HTML page that needs nothing else: `--report`. Made on the main thread, after the loop."""

from load.report.page import render

__all__ = ["render"]
