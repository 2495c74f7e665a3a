"""Where frames come from: capture files, compressed or not, directories of them, and pipes."""
