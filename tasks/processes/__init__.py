"""Processes of this machine: children, who is alive, signals, work that hangs."""
