"""`python dashboard.py`; see `--help`."""

from distill.doors import dashboard

if __name__ == "__main__":
    dashboard()
