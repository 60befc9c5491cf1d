"""`python -m tokenglass`: the command line."""

from tokenglass.cli import main

if __name__ == "__main__":
    main()
