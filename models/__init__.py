"""Orders and where they are stored. The only package with SQL or Peewee."""
