"""Rewards for responses: by reward models, classifiers, the oracle and reference answers."""
