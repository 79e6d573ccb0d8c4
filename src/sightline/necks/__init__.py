"""What joins the maps of a backbone into a pyramid."""
