"""What trains each kind of model, and the reference log-probabilities that it needs."""
