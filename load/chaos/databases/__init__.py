"""The databases of the targets: SQLite files, and PostgreSQL servers with their standbys, proxies and disks."""
