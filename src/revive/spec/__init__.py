"""What a user asks for: a spec read, checked, filled in and written down. No torch."""
