"""The nets as they were drawn before the description; goes when its interpreters are complete."""
