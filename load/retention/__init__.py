"""`python -m load.retention`: lets old orders leave a server under load."""
