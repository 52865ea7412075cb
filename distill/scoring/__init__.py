"""What score.py takes in and gives out; the scores themselves come from distill.deploy.scorer."""
