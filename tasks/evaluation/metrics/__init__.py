"""One metric per file: pure functions of numbers, with their intervals."""
