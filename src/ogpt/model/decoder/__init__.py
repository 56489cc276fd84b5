"""The Decoder protocol in PyTorch."""
