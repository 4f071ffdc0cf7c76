"""A configuration made small: the same stages and branches, on few rows and a small model."""
