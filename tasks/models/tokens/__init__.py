"""Text into token ids: tokenizers, chat templates, groups and prompts."""
