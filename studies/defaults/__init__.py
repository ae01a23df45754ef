"""Where the defaults of training come from: default against tuned, by task."""
