"""Pictures, plots and one-file reports of what evaluation and training found."""
