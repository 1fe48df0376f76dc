"""`python -m load.chaos`: random faults for servers under load, and proof that no acknowledged order is lost."""
