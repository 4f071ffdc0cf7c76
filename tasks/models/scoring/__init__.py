"""Rewards for responses: by reward models, classifiers and the playground's oracle."""
