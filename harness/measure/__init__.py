"""What a run costs: parameters, memory, throughput."""
