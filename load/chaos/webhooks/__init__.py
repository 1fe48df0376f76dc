"""Receives and checks the webhooks of a target."""
