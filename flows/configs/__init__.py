"""Configurations: their models, one per flow, and the files to start from."""
