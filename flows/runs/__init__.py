"""A run of a flow from start to end: checks before it, the terminal, Prefect's pages, dead runs."""
