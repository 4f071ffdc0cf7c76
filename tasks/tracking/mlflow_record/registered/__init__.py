"""What a registered model's artifacts hold: how to load it from the store its weights lie in."""
