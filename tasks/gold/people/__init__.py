"""Questions to people: where they are asked, what they hand in, and when that is enough."""
