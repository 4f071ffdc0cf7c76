"""The losses of the papers as pure functions of tensors: no model, no tokenizer, no configuration.

Shapes, everywhere in this folder:

    B  examples of a batch (a pair or a group)     Q  queries with a gold response (APO)
    K  responses of one group                      S  sampled responses per query (APO)
    T  tokens                                      N  human preference pairs (APO)

Conventions: a mask is bool with True = real, and whatever stands outside it, inf and nan included,
changes neither a value nor a gradient. bf16 and fp16 are raised to float32. In a pair column 0 is
the chosen response. A loss is per example, (B,), and the caller reduces; the losses of APO are
means over one optimiser step, ().
"""
