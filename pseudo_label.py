"""`python pseudo_label.py`; see `--help`."""

from distill.doors import pseudo_label

if __name__ == "__main__":
    pseudo_label()
