"""The one writer of WIM files: plan, output, sealing, proof and the new name."""
