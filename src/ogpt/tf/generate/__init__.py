"""generate() of the models: step by step over a decoder, or as one compiled loop."""
