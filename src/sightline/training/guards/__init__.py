"""What stops a run that goes wrong, or says before it begins what will: answers in place of tracebacks."""
