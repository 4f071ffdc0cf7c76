"""Judging pairs of answers by a language model: what is asked, what counts, what it is worth."""
