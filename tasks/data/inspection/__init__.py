"""What can be known about data before a model is trained on it: counts, lengths, advice."""
