"""The groups that a training learns from: chosen, encoded, cut into micro-batches."""
