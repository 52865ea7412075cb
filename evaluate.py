"""`python evaluate.py`; see `--help`."""

from distill.doors import evaluate

if __name__ == "__main__":
    evaluate()
