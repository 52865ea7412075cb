"""`python make_ladder.py`; see `--help`."""

from distill.doors import make_ladder

if __name__ == "__main__":
    make_ladder()
