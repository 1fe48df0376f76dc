"""Provides what all commands share: flags, progress, output files, signals and exit statuses."""
