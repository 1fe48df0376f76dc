"""Defines a sample of measurements (see load/soak/minute.py) that is within all limits."""

from load.soak.minute import Sample

SAMPLE = Sample(50.0, 60.0, 8, 18, 40, 1.5, 4.0, 9.0)
