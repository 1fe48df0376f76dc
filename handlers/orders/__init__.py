"""Orders over HTTP: one, many, listing, actions."""
