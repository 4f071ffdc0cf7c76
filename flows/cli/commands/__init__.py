"""The commands of `sparring`: their words and options, and what they call."""
