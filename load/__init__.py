"""Contains the load generator and the benchmarks. Both send HTTP requests, and import nothing from the server.

A 202 acknowledges an order: from then on, the server must not lose it. In a closed loop, each client sends its next
request when it has the response to the previous one. In an open loop, each request is sent at a fixed time, when it is
due. An order is processed once its status is terminal: Completed, Failed or Cancelled.
"""
