"""`python -m load.retention`: checks that old orders leave a server under load, and none of them is lost."""

from load.cli.program import run_program

if __name__ == "__main__":
    run_program("load.retention.command")
