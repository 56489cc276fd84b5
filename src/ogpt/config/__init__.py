"""What a model is (OpenAIGPTConfig) and how a run goes (frozen settings, presets)."""
