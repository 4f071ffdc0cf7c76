"""Recurring runs: deployments, what a scheduled run resolves anew, one run per period."""
