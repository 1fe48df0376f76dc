"""Attempts that send the order to a receiver of webhooks."""
