"""Collects what a run measures, and prints it."""
