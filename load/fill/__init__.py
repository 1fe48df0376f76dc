"""A database file with as many orders as wanted, made by a server that is started on it."""
