"""What both engines have in common: the address of a database, its health, and the servers that use it."""
