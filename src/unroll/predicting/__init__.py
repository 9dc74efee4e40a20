"""What predict.py does for each task: its options, and what goes in and comes out."""
