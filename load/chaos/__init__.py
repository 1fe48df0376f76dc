"""`python -m load.chaos`: injects faults into servers under load, and checks that no acknowledged order is lost."""
