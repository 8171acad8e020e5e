"""Pictures and videos: files to arrays and back, and what is done to them."""
