"""`python -m load.soak`: loads a server for minutes or hours, and checks that it leaks nothing and stays fast.

A session is a client that sends one kind of request again and again, or reads a stream. A sample says what resources
the server uses at one moment. A minute summarizes the samples and the latencies of one minute.
"""
