"""Language models on whole groups: the prompt computed once, its responses packed behind it."""
