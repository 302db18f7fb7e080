"""Who the pages belong to."""

PRODUCT = "Meridian"
