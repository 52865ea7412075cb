"""`python export.py`; see `--help`."""

from distill.doors import export

if __name__ == "__main__":
    export()
