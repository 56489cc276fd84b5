"""Configuration: of a model (OpenAIGPTConfig) and of a run (frozen settings, presets)."""
