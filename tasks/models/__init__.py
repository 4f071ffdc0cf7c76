"""Policies and reward models: text to tokens, tokens to log-probabilities, rewards and samples."""
