"""`python -m load.chaos`: harm done at random to servers under load, and the proof that no order suffers from it."""
