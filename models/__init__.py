"""The database and nothing else: the only place with SQL or Peewee."""
