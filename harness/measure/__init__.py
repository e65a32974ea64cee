"""What a run costs: parameters, memory, time, floating-point operations; and how quiet the machine was."""
