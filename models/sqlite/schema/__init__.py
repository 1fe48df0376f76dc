"""The tables, and the migrations of older files."""
