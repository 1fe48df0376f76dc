"""`python -m load.bench`: compares the speed of the server with a bare Tornado or with another version.

A trial answers one question about speed. Most trials compare two servers; the server of this checkout is called "ours".
A trial is repeated in several runs. A load is a function that sends requests to one server, and measures the responses.
A run can measure each server in several short rounds, in which the servers take turns. A row is one line of the result.
A row has a value for each run, and passes if the median of these values is within its bound.
"""
