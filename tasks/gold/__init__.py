"""Gold responses: who gives them, how they are collected once, and what stays unanswered."""
