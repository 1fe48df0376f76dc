"""Orders and their storage. The only package with SQL or Peewee."""
