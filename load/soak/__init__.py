"""A soak: a shop's day in a nutshell against a server of its own, and whether the server is as well at its end."""
