"""The common objective: content, style and total variation, and the presets that select their parameters."""
