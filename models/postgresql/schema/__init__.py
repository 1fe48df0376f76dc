"""The tables, and how a server creates or changes them."""
