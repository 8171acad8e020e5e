"""Training the feed-forward nets: the loop, its photos, its folder, its page."""
