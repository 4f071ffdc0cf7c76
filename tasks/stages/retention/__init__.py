"""Which artifacts are still needed, and how the others are removed, here and on the remote."""
