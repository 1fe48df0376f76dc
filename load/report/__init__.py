"""`--report`: a run as one HTML page that needs nothing else."""

from load.report.page import render

__all__ = ["render"]
