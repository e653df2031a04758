"""Series whose LSTM state is kept between requests."""
