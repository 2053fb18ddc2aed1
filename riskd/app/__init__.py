"""What is started: the twistd plugins, assembled from the parts."""
