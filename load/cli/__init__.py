"""Flags, progress, output files, signals and exit status of every command."""
