"""Opens, locks and checks the files of the database."""
