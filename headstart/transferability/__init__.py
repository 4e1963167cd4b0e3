"""What a source network is worth for a target: scores, accuracy by depth, and the adviser (which needs no torch)."""
