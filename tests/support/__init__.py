"""What tests share: clocks, transports, brokers, daemons and strategies."""
