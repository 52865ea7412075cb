"""`python train_teacher.py`; see `--help`."""

from distill.doors import train_teacher

if __name__ == "__main__":
    train_teacher()
