"""The known answers: exact values and bounds, in float64."""
