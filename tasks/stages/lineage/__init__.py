"""What every artifact came from and what was made of it: the graph, its differences, its page."""
