"""`python -m load.chaos`: injects faults into servers under load, and checks that no acknowledged order is lost.

A target is one or more servers on one database. Its ledger records which orders were sent and acknowledged. A
finding is something wrong: a lost order, a wrong response, or a server that ended by itself.
"""
