"""From logits to the next token: settings, rules, warpers, random numbers."""
