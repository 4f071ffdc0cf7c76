"""One attempt at a stage at a time: who holds it, here and across machines."""
