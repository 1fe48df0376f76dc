"""`python -m load.bench`: compares the server with a bare Tornado, with itself, or with another version."""
