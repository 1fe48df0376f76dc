"""Checks at the end of a run that no order is lost or changed: in the API, in the database and in the archives."""
