"""Several systems on one set of images, by one budget and one judgement: a table, a report, and a way to go on."""
