"""What a network is, how it scales, what it costs. Pure values and functions; never imports torch."""
