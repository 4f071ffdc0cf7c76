"""The embedded data set: a small dialogue world whose true reward is known for every text."""
