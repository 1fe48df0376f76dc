"""`python -m load.soak`: loads a server for minutes or hours, and checks that it leaks nothing and stays fast."""
