"""HTTP connections to the server under load."""
