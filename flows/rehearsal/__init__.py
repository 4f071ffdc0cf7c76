"""The rehearsal of a run: the user's configuration whole and small, and what the real one needs."""
