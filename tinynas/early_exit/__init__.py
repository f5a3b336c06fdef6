"""Early exits (SideNet): splitting a network, side heads, calibration, thresholds."""
