"""`python -m load.fill`: creates a database file with many orders, by a server that is started on it."""
