"""What a server that is well looks like."""

from load.soak.sample import Sample

MIB = 1024 * 1024
SAMPLE = Sample(50 * MIB, 60 * MIB, 8, 18, 40, 4 * MIB, 9 * MIB, 1.5)
