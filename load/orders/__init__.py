"""Provides the orders that a run sends, and compares orders. A source is a sequence of orders, accessed by index."""
