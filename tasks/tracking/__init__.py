"""The outside record of the work: DVC versions the artifacts, MLflow keeps the runs.

Each of the two libraries is imported in one file only, and only when there is something for it.
"""
