"""The mark of a file whose orders were moved to another database. Usable on any thread.

The mark is another application id, so that versions of this program without moves refuse the file, too. The table
`moved` says where the orders are.
"""

MOVED_ID = 0x4F52444D
"""The application id of a file that was moved: "ORDM"."""
MOVED_TO = "SELECT target FROM moved"
