"""The frozen base of all configs, how they are read, our error classes, and what a log is."""
