"""Calls to model servers with OpenAI's interface: asked politely, paid once, checked, recorded."""
