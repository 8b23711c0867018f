"""What users do with whole WIM files: export, split, verify, capture and so on."""
