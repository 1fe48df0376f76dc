"""`python -m load.patroni`: kills a PostgreSQL server that Patroni manages, and checks every order."""
