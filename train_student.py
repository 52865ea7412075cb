"""`python train_student.py`; see `--help`."""

from distill.doors import train_student

if __name__ == "__main__":
    train_student()
