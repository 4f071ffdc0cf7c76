"""What works in a row's turns: our own ways and those of its peers."""
