"""What the four stages share: the datum loop, image names, image decoding, small file helpers."""
