"""How large models are, from their shapes alone: parameters, and bytes of memory in use."""
