"""Sends HTTP requests to the server under load. The head of a message is everything before its body."""
