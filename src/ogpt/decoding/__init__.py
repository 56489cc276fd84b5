"""The choice of the decoder that generates and scores."""
