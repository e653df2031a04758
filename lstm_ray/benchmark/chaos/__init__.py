"""What machines and processes that die or slow down in mid-work do to each part: the case, the result, seconds to recover."""
