from load.cli.program import run_program

if __name__ == "__main__":
    run_program("load.patroni.command")
