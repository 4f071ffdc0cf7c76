"""Measuring reward models and policies: numbers in, estimates, tables, plots and a report out.

Nothing here loads a model. Scores, lengths and log-probabilities arrive as numbers; what leaves is
a small frozen dataclass of floats, or files.
"""
