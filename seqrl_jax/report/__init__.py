"""Records of any track told to people and machines."""
