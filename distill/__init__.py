"""Distill-VQA: teacher-student distillation for no-reference video quality assessment."""

__version__ = "0.1.0"
