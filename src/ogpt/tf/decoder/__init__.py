"""The Decoder protocol in TensorFlow."""
