"""Reads from the server what has become of the orders: the counts, the backlog, and every order."""
