"""Which weights of a model are trained: adapters in it, or its last layers and the head."""
