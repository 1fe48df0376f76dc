"""`python -m load.soak`: load for minutes or hours, and checks that a server is at the end as it was at the start."""
