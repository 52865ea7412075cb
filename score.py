"""`python score.py`; see `--help`."""

from distill.doors import score

if __name__ == "__main__":
    score()
