"""Logits become text: the Decoder protocol, processors, random numbers, search, writer."""
