"""Text becomes ids: GPT-1's vocabulary, learning merges, tokenizers."""
