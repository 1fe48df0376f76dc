"""`--report`: a run as one HTML page that loads no other file."""
