"""Scheduled runs compared over the weeks: by what, how they did, and the gate at their end."""
