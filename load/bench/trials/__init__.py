"""The trials: each measures servers in turns, and returns rows with bounds."""
