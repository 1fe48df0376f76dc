"""What the store can be asked to change, and the results."""
