"""Groups – one prompt with its responses: their sources, cleaning, splits and order."""
