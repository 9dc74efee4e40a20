"""What shows a network at work."""
