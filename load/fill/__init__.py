"""`python -m load.fill`: creates a database file with many orders, by sending them to a server."""
