"""Grantbook beside other authorization engines, on the same data and questions: `python -m benchmarks --only peers`."""
