"""The orders that a run sends."""
