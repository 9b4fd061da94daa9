"""Reports: one module for each output, all made from one SweepResult."""
