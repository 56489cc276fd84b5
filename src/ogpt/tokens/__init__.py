"""Convert text to ids and back: vocabulary, training of merges, tokenizers."""
