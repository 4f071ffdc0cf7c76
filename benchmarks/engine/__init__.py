"""The engine against its peers: `python -m benchmarks.engine`, or `make bench`."""
