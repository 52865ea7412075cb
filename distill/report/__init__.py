"""A run folder as one HTML page; see docs/report.md."""

from distill.report.page import REPORT, write_report

__all__ = ["REPORT", "write_report"]
