"""Responses drawn from a policy, with the prompt's keys and values shared."""
