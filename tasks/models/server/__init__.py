"""Responses drawn from a model server with OpenAI's interface that a stage starts."""
