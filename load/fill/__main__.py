"""Makes a big database file from the command line, on the main thread."""

from load.cli.program import Run, run_program


def find() -> Run:
    """Give the program, which is imported late, since that takes a while."""
    from load.fill.command import main

    return main


if __name__ == "__main__":
    run_program(find)
