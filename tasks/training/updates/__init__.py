"""One file per model that is trained: policy, reward model, classifier; and reference log-probabilities."""
