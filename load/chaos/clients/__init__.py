"""Sends orders to a target, repeats each request until it has a response, and disconnects clients."""
